'use strict';

// What is deflated in the page: its data, and plotly's script.

async function inflated(selector) {
  const text = atob(document.querySelector(selector).textContent);
  const bytes = new Uint8Array(text.length);
  for (let place = 0; place < text.length; place += 1) bytes[place] = text.charCodeAt(place);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'));
  return new Response(stream).text();
}

/** Run plotly's script, of which the page's policy knows the hash, and return the data. */
async function unpack() {
  const script = document.createElement('script');
  script.textContent = await inflated('#plotly');
  document.body.append(script);
  return JSON.parse(await inflated('#data'));
}

function tellTrouble(error) {
  const note = document.createElement('p');
  note.textContent = `This page cannot be shown, as by a browser of before 2023: ${error.message}`;
  document.querySelector('main').replaceChildren(note);
}

/** Let others know that the page shows what it has; figures are drawn as they come into sight. */
function markReady() {
  document.body.dataset.ready = '';
}
