// The chat on /help: a question out, an answer with links in.
const form = document.querySelector("#chat");
const said = document.querySelector("#said");
const socket = new WebSocket(new URL("/help/chat", location.href.replace(/^http/, "ws")));

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const field = form.elements.question;
  if (socket.readyState !== WebSocket.OPEN) return say("The connection is closed. Load the page again.");
  say(field.value);
  socket.send(field.value);
  field.value = "";
});

socket.addEventListener("message", (event) => {
  const { text, products } = JSON.parse(event.data);
  say(text, ...products.flatMap((product) => [" ", link(product)]));
});

function say(...parts) {
  const item = document.createElement("li");
  item.append(...parts);
  said.append(item);
}

function link(product) {
  const made = document.createElement("a");
  made.href = `/products/${product.id}`;
  made.textContent = product.name;
  return made;
}
