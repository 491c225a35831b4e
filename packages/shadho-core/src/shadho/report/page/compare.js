'use strict';

// The page of several searches: what shadho.report.comparison made.

let current = null;
const seen = new Set(['history', 'distribution']);

function drawNow(id) {
  draw(id, current, null);
}

function renderTable({ titles, rows, colours }) {
  fillTable('#searches table', titles, rows.map(([search, ...others], place) => {
    const name = element('td');
    const swatch = element('span', '', 'swatch');
    swatch.style.background = colour(colours[place], current);
    name.append(swatch, search);
    return [name, ...others];
  }));
}

function redraw() {
  renderTable(current.table);
  for (const id of seen) drawNow(id);
}

unpack().then((data) => {
  current = data;
  for (const node of document.querySelectorAll('.loss')) node.textContent = data.loss;
  for (const id of seen) offer(id, data, drawNow);
  redraw();
  dark.addEventListener('change', redraw);
  followPrinting(() => {}, redraw);
}).catch(tellTrouble).finally(markReady);
