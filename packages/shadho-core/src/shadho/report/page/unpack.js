'use strict';

// What is deflated in the page: its data, and plotly's script.

async function inflated(selector) {
  const bytes = Uint8Array.from(atob(document.querySelector(selector).textContent), (letter) => letter.charCodeAt(0));
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
