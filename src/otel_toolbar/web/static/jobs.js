// The state of a job on demand: a button[data-refresh] asks its queue, and the element after it takes the answer.

import { api } from "./common.js";

const WAIT = 150;

addEventListener("click", (event) => {
  const button = event.target.closest?.("button[data-refresh]");
  if (button) ask(button.dataset.refresh, button.nextElementSibling, button);
});

async function ask(job, room, button) {
  button.disabled = true;
  room.className = "job-state muted";
  const patience = setTimeout(() => (room.textContent = "Asking the queue …"), WAIT);
  try {
    room.textContent = said(await api(`jobs/${encodeURIComponent(job)}/refresh`, "POST"));
    room.className = "job-state";
  } catch (error) {
    room.textContent = error.message;
    room.className = "job-state warn";
  } finally {
    clearTimeout(patience);
    button.disabled = false;
    button.focus();
  }
}

function said({ status, attempts, retries, progress, scheduled, started, completed, result, error }) {
  const facts = [
    `${status}, ${attempts} of ${retries} ${retries === 1 ? "attempt" : "attempts"}`,
    progress > 0 && progress < 1 ? `${Math.round(progress * 100)} %` : "",
    !started && scheduled ? `not before ${new Date(scheduled * 1000).toLocaleTimeString()}` : "",
    completed ? `ended ${new Date(completed * 1000).toLocaleTimeString()}` : "",
    result ? `returned ${result}` : "",
    error,
  ];
  return facts.filter(Boolean).join(" · ");
}
