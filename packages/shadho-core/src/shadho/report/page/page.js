'use strict';

// The page: render(data) shows what shadho.report.payload made, now or again with newer data.

let current = null;
const seen = new Set(); // sections that are, or were, near the screen: the others wait

function render(data) {
  for (const column of data.trials.columns) column.values = unpacked(column.values, data);
  data.trials.results = unpacked(data.trials.results, data);
  data.trials.hosts = unpacked(data.trials.hosts, data);
  current = data;
  texts = [];
  if (data.version) document.body.dataset.version = data.version;
  for (const node of document.querySelectorAll('.loss')) node.textContent = data.loss;
  renderFacts(data);
  renderTrees(data.trees);
  renderClasses(shared(data.classes, data), data.bound);
  renderRungs(data.rungs);
  renderFailures(data.failures);
  for (const id of Object.keys(data.figures)) {
    document.getElementById(id).hidden = false; // some have a section only where there is something to draw
    reserve(id, data);
    offer(id, data, drawNow);
    tellThinned(id, data.figures[id].thinned);
    if (seen.has(id)) drawNow(id);
  }
  offerAxes(data, () => drawNow('scatter'));
  if (seen.has('scatter')) drawNow('scatter');
  drawTable(data);
}

function shared(value, data) {
  return Array.isArray(value) ? value : data.arrays[value.$];
}

/** Return a column of the table: written as it is, as places in a list of labels, or without what is missing. */
function unpacked(value, data) {
  const found = shared(value, data);
  if (found) return found;
  if (value.labels) {
    const labels = shared(value.labels, data);
    return value.count ? new Array(value.count).fill(labels[0]) : shared(value.codes, data).map((place) => labels[place]);
  }
  const known = shared(value.values, data);
  let place = 0;
  return shared(value.known, data).map((isKnown) => (isKnown ? known[place++] : null));
}

/** Say below the heading of a section which trials its figures leave out. */
function tellThinned(id, text) {
  const section = document.getElementById(id);
  section.querySelector('.thinned')?.remove();
  if (!text) return;
  const node = element('p', text, 'note thinned');
  section.querySelector('h2 + p').after(node);
}

function drawNow(id) {
  const open = (trial) => openTrial(trial, current);
  if (id === 'scatter') drawScatter(current, open);
  else draw(id, current, open);
}

function renderFacts({ facts, best }) {
  document.querySelector('#facts').replaceChildren(...facts.map(([name, value]) => {
    const fact = element('div');
    fact.append(element('dt', name), element('dd', value));
    return fact;
  }));
  const node = document.querySelector('#best');
  node.hidden = !best;
  if (!best) return;
  const link = element('button', `trial ${best.trial}`, 'link');
  link.type = 'button';
  link.onclick = () => openTrial(best.trial, current);
  const list = element('ul');
  for (const [name, value] of best.params) {
    const item = element('li', `${name} = `);
    item.append(element('b', value));
    list.append(item);
  }
  node.replaceChildren('Best: ', link, list);
}

function renderTrees({ shown, more }) {
  fillTable('#trees table', ['tree', 'trials', 'failed', 'best', 'median', 'mean seconds'], shown.map((tree) => {
    const name = element('td');
    const swatch = element('span', '', 'swatch');
    swatch.style.background = colour(tree.colour, current);
    name.title = tree.label;
    name.append(swatch, tree.label);
    return [name, tree.trials, tree.failed, tree.best, tree.median, tree.seconds];
  }));
  const note = document.querySelector('#trees .more');
  note.hidden = !more;
  note.textContent = `… and ${more.toLocaleString('en')} more tree${more === 1 ? '' : 's'}, with no better trial`;
}

function renderClasses(classes, bound) {
  const note = document.querySelector('#classes .bound');
  note.hidden = !bound;
  note.textContent = bound;
  const titles = ['compute class', 'slots', 'each asks for', 'trials', 'done', 'failed', 'lost', 'mean seconds', 'busy', 'price'];
  const percent = (share, digits) => (share === null ? '-' : `${(100 * share).toFixed(digits)}%`);
  fillTable('#classes table', titles, classes.map((own) => {
    const name = element('td', own.name);
    if (own.is_bottleneck) name.append(element('span', 'bottleneck', 'mark'));
    const price = own.price === null ? '-' : `+${percent(own.price, own.price < 0.1 ? 1 : 0)}`;
    return [name, own.slots, own.request || '-', own.trials, own.done, own.failed, own.lost, own.seconds, percent(own.utilisation, 0), price];
  }));
}

function renderRungs({ classes, shown }) {
  document.querySelector('#timeline .rungs').hidden = !shown.length;
  fillTable('#timeline table', ['rung', 'reached', ...classes], shown.map(([step, ...counts]) => [
    element('td', `step ${step.toLocaleString('en')}`), ...counts,
  ]));
}

function renderFailures({ shown, more }) {
  const list = document.querySelector('#failures .list');
  list.replaceChildren(...shown.map((failure) => {
    const node = element('details');
    const summary = element('summary');
    summary.append(element('b', `${failure.count.toLocaleString('en')} ×`), element('span', `${failure.kind}: `, 'failed'), failure.message);
    const trials = element('p', failure.count > failure.trials.length ? 'Among them: ' : '');
    for (const id of failure.trials) {
      const link = element('button', `trial ${id}`, 'link');
      link.type = 'button';
      link.onclick = () => openTrial(id, current);
      trials.append(link, ' ');
    }
    node.append(summary, trials);
    if (failure.traceback) node.append(element('pre', failure.traceback));
    return node;
  }));
  if (more) list.append(element('p', `… and ${more} more reason${more === 1 ? '' : 's'}`, 'note'));
  if (!shown.length) list.append(element('p', 'No trial failed.', 'note'));
}

function redraw() {
  renderTrees(current.trees);
  for (const id of seen) drawNow(id);
}

function listen() {
  const watcher = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting || seen.has(target.id)) continue;
      seen.add(target.id);
      drawNow(target.id);
    }
  }, { rootMargin: '400px' });
  for (const id of [...Object.keys(current.figures), 'scatter']) watcher.observe(document.getElementById(id));
  dark.addEventListener('change', redraw);
  // Also those that were never in sight.
  followPrinting(() => { for (const id of [...Object.keys(current.figures), 'scatter']) seen.add(id); }, redraw);
  document.querySelector('#trials input').oninput = (event) => { view.text = event.target.value; view.page = 0; drawTable(current); };
  document.querySelector('#trials .previous').onclick = () => { view.page -= 1; drawTable(current); };
  document.querySelector('#trials .next').onclick = () => { view.page += 1; drawTable(current); };
}

const ready = unpack().then((data) => {
  render(data);
  listen();
}).catch(tellTrouble).finally(markReady);
