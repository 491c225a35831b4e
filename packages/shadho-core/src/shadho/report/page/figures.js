'use strict';

// Figures: which one a section shows, when it is drawn, and in which colours.

const dark = matchMedia('(prefers-color-scheme: dark)');
const webgl = Boolean(document.createElement('canvas').getContext('webgl'));
const chosen = {}; // the choice in each section, kept when new data comes
const settings = {
  responsive: true, displaylogo: false, plotlyServerURL: '',
  modeBarButtonsToRemove: ['select2d', 'lasso2d', 'autoScale2d'],
};
const NARROW = 560; // pixels below which the mode bar would lie over the legend
const AXIS = 105; // pixels that an axis of the parallel coordinates needs
let isLog = null; // whether the loss has logarithmic axes; null as each figure would have it
let firstAxis = 1; // of the parallel coordinates: the first one is the loss and stays
let isPrinting = false;

/** Redraw in light colours, as wide as paper, before the figures are printed, and as they were afterwards. */
function followPrinting(prepare, redraw) {
  const printing = (isOn) => {
    isPrinting = isOn;
    document.documentElement.classList.toggle('printing', isOn);
    if (isOn) prepare();
    redraw();
  };
  window.addEventListener('beforeprint', () => printing(true));
  window.addEventListener('afterprint', () => printing(false));
}

const isDark = () => dark.matches && !isPrinting;

/** Copy a figure: with its shared arrays put in, and in the colours of the page. */
function resolve(value, data) {
  if (typeof value === 'string') return isDark() && Object.hasOwn(data.dark, value) ? data.dark[value] : value;
  if (Array.isArray(value)) return value.map((item) => resolve(item, data));
  if (value === null || typeof value !== 'object') return value;
  if (Object.hasOwn(value, '$')) {
    const shared = data.arrays[value.$];
    return Array.isArray(shared) ? shared : { ...shared };
  }
  const copy = {};
  for (const [key, item] of Object.entries(value)) copy[key] = resolve(item, data);
  if (!webgl && copy.type === 'scattergl') copy.type = 'scatter';
  return copy;
}

/** Draw what is chosen in a section. */
function draw(id, data, openTrial) {
  const { choices, note } = data.figures[id];
  const choice = choices.find((own) => own.name === chosen[id]) || choices[0];
  if (!choice || (id === 'parallel' && !webgl)) {
    tellInstead(id, choice ? 'This figure needs WebGL, which this browser does not offer.' : note);
    return;
  }
  const { data: traces, layout } = resolve(choice.figure, data);
  scaleLoss(id, layout);
  const isNarrow = document.querySelector(`#${id} .figure`).clientWidth < NARROW;
  if (id === 'timeline' && isNarrow) layout.yaxis.ticktext = layout.yaxis.ticktext.map((name) => name.split('<br>')[0]);
  if (id === 'parallel') chooseAxes(traces[0], () => draw(id, data, openTrial));
  plot(id, traces, layout, choice.name || 'yes', openTrial);
}

function tellInstead(id, note) {
  const node = document.querySelector(`#${id} .figure`);
  Plotly.purge(node);
  node.style.minHeight = '';
  node.replaceChildren(element('p', note, 'note'));
  for (const control of document.querySelectorAll(`#${id} .log, #${id} .axes`)) control.hidden = true;
}

/** Let plotly draw in a section; clicking on a point opens its trial. */
function plot(id, traces, layout, name, openTrial) {
  const node = document.querySelector(`#${id} .figure`);
  if (!node._fullLayout) node.replaceChildren();
  node.style.minHeight = '';
  if (isPrinting && layout.height <= 460) layout.height = 340; // two to a page
  layout.height += legendHeight(node, traces, layout);
  const bar = { displayModeBar: node.clientWidth < NARROW ? false : 'hover' };
  Plotly.react(node, traces, layout, { ...settings, ...bar }).then(() => {
    node.dataset.drawn = name;
    node.removeAllListeners('plotly_click');
    node.on('plotly_click', (event) => {
      const trial = event.points[0].customdata;
      if (openTrial && typeof trial === 'number') openTrial(trial);
    });
  });
}

/** Give the loss a logarithmic axis, or none, where the reader wants it so, and offer that where it is possible. */
function scaleLoss(id, layout) {
  const button = document.querySelector(`#${id} .log`);
  const { axis: name, positive } = layout.meta || {};
  if (!button || !name) return;
  const axis = layout[name];
  const was = axis.type === 'log';
  if (positive && isLog !== null && isLog !== was) {
    axis.type = isLog ? 'log' : 'linear';
    delete axis.dtick;
  }
  button.hidden = !positive;
  button.setAttribute('aria-pressed', String(axis.type === 'log'));
  button.onclick = () => {
    isLog = axis.type !== 'log';
    for (const own of seen) drawNow(own);
  };
}

/** Leave out axes that do not fit beside each other; the first, of the loss, always stays. */
function chooseAxes(trace, redraw) {
  const bar = document.querySelector('#parallel .axes');
  const room = Math.max(1, Math.floor(document.querySelector('#parallel .figure').clientWidth / AXIS) - 1);
  const count = trace.dimensions.length - 1;
  bar.hidden = count <= room;
  if (bar.hidden) return;
  firstAxis = Math.max(1, Math.min(firstAxis, count - room + 1));
  const [loss] = trace.dimensions;
  trace.dimensions = [loss, ...trace.dimensions.slice(firstAxis, firstAxis + room)];
  const [previous, next] = bar.querySelectorAll('button');
  bar.querySelector('.place').textContent = `${firstAxis} to ${firstAxis + room - 1} of ${count}`;
  previous.disabled = firstAxis === 1;
  next.disabled = firstAxis + room > count;
  const step = (by) => () => { firstAxis += by; redraw(); };
  previous.onclick = step(-room);
  next.onclick = step(room);
}

/** Keep the place of a figure that is not drawn yet, so that those below it are out of sight, and wait. */
function reserve(id, data) {
  const [choice] = data.figures[id].choices;
  document.querySelector(`#${id} .figure`).style.minHeight = choice ? `${choice.figure.layout.height}px` : '';
}

/** Return how much higher a figure must be where its legend has more than one line. */
function legendHeight(node, traces, layout) {
  if (layout.showlegend === false) return 0;
  const names = traces.filter((own) => own.name && own.showlegend !== false).map((own) => own.name.length);
  const each = 55 + 7 * Math.max(...names, 0);
  const lines = Math.ceil(names.length / Math.max(1, Math.floor((node.clientWidth - 60) / each)));
  return 20 * Math.max(0, lines - 1);
}

/** Show what can be chosen in a section, as buttons or as a list. */
function offer(id, data, redraw) {
  const node = document.querySelector(`#${id} .choice`);
  if (!node) return;
  const { choices } = data.figures[id];
  const names = choices.map((own) => own.name);
  node.hidden = names.length < 2;
  if (!names.includes(chosen[id])) chosen[id] = names[0];
  const choose = (name) => { chosen[id] = name; offer(id, data, redraw); redraw(id); };
  const list = node.querySelector('select');
  if (list) {
    list.replaceChildren(...names.map((name) => new Option(name, name, false, name === chosen[id])));
    list.onchange = () => choose(list.value);
  } else {
    const focused = node.contains(document.activeElement);
    node.replaceChildren(...choices.map(({ name, label }) => {
      const button = element('button', label);
      button.type = 'button';
      button.setAttribute('aria-pressed', String(name === chosen[id]));
      button.onclick = () => choose(name);
      return button;
    }));
    if (focused) node.querySelector('[aria-pressed=true]').focus();
  }
}

/** Make an element with a text; texts are never read as HTML. */
function element(tag, text = '', className = '') {
  const node = document.createElement(tag);
  node.textContent = text;
  if (className) node.className = className;
  return node;
}

/** Fill a table: of each row the first cell is an element, the others are numbers or texts. */
function fillTable(selector, titles, rows) {
  const head = element('tr');
  titles.forEach((title, place) => head.append(element('th', title, place ? 'number' : '')));
  const write = (value) => (value === null ? '-' : typeof value === 'string' ? value : String(Number(value.toPrecision(6))));
  document.querySelector(selector).replaceChildren(head, ...rows.map(([name, ...others]) => {
    const line = element('tr');
    line.append(name, ...others.map((value) => element('td', write(value), 'number')));
    return line;
  }));
}

/** Return a colour as it is on the page. */
function colour(value, data) {
  return isDark() && Object.hasOwn(data.dark, value) ? data.dark[value] : value;
}

/** Escape a text for plotly, which reads some of HTML, and templates. */
function escaped(text) {
  return String(text).replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('%{', '%&#123;');
}
