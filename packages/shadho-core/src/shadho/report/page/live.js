'use strict';

// On a dashboard: new data is fetched whenever the server says that there is some.

const live = document.querySelector('#live');
const source = new EventSource(`events${location.search}`);
let shown = null; // the version that the page shows
let newest = null;
let fetching = false;

function tell(text, isTrouble) {
  live.hidden = false;
  live.textContent = text;
  live.classList.toggle('failed', isTrouble);
}

/** Fetch data until nothing newer is known; one request at a time. */
async function refresh() {
  if (fetching) return;
  fetching = true;
  try {
    await ready;
    shown ??= current.version; // that which came with the page
    while (shown !== newest) {
      const version = newest;
      const answer = await fetch(`data${location.search}`);
      if (!answer.ok) return;
      render(await answer.json());
      shown = version;
      document.body.dataset.version = version;
    }
  } finally {
    fetching = false;
  }
}

source.onmessage = ({ data: version }) => {
  newest = version;
  tell('live', false);
  refresh().catch(() => tell('The newest trials could not be fetched.', true));
};
source.addEventListener('trouble', ({ data }) => tell(JSON.parse(data), true));
source.onerror = () => tell('The dashboard has ended, or cannot be reached.', true);
