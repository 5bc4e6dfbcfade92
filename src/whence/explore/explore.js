// Follows a job until it ends, then opens its result. Without this script the page loads itself again.
"use strict";

const card = document.getElementById("job");
const state = document.getElementById("state");
const bar = document.getElementById("progress");

async function follow() {
  try {
    const answer = await fetch("/job?format=json&id=" + encodeURIComponent(card.dataset.job));
    const job = await answer.json();
    if (job.state === "done") {
      location.replace(job.result);
      return;
    }
    if (job.state === "failed" || !answer.ok) {
      location.reload();
      return;
    }
    state.textContent = job.words;
    if (job.total) {
      bar.max = job.total;
      bar.value = job.done;
    }
  } catch {
    state.textContent = "The explorer does not answer.";
  }
  setTimeout(follow, 400);
}

follow();
