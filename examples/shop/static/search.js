// Suggestions while somebody types. Without JavaScript the form still searches.
const input = document.querySelector("form.search input[name=q]");
const list = document.querySelector("#suggestions");
const PAUSE = 150;
let timer;
let running;

input.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(suggest, PAUSE);
});

async function suggest() {
  running?.abort();
  running = new AbortController();
  try {
    const address = `/search?${new URLSearchParams({ q: input.value })}`;
    const response = await fetch(address, { signal: running.signal });
    show(response.ok ? await response.json() : []);
  } catch (error) {
    if (error.name !== "AbortError") show([]);
  }
}

function show(products) {
  list.replaceChildren(...products.map(suggestion));
  list.hidden = products.length === 0;
}

function suggestion(product) {
  const link = document.createElement("a");
  link.href = `/products/${product.id}`;
  link.textContent = product.name;
  const price = document.createElement("span");
  price.className = "price";
  price.textContent = `€${(product.price / 100).toFixed(2)}`;
  link.append(price);
  const item = document.createElement("li");
  item.append(link);
  return item;
}
