'use strict';

// Figures: which one a section shows, when it is drawn, and in which colours.

const dark = matchMedia('(prefers-color-scheme: dark)');
const webgl = Boolean(document.createElement('canvas').getContext('webgl'));
const chosen = {}; // the choice in each section, kept when new data comes
const settings = {
  responsive: true, displaylogo: false, plotlyServerURL: '',
  modeBarButtonsToRemove: ['select2d', 'lasso2d', 'autoScale2d'],
};

/** Copy a figure: with its shared arrays put in, and in the colours of the page. */
function resolve(value, data) {
  if (typeof value === 'string') return dark.matches && Object.hasOwn(data.dark, value) ? data.dark[value] : value;
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
  const node = document.querySelector(`#${id} .figure`);
  const { choices, note } = data.figures[id];
  const choice = choices.find((own) => own.name === chosen[id]) || choices[0];
  if (!choice || (id === 'parallel' && !webgl)) {
    Plotly.purge(node);
    node.replaceChildren(element('p', choice ? 'This figure needs WebGL, which this browser does not offer.' : note, 'note'));
    return;
  }
  if (!node._fullLayout) node.replaceChildren();
  const { data: traces, layout } = resolve(choice.figure, data);
  layout.height += legendHeight(node, traces, layout);
  if (layout.meta) node.style.minWidth = `${layout.meta.width}px`;
  Plotly.react(node, traces, layout, settings).then(() => {
    node.dataset.drawn = choice.name || 'yes';
    node.removeAllListeners('plotly_click');
    node.on('plotly_click', (event) => {
      const trial = event.points[0].customdata;
      if (trial !== undefined) openTrial(Number(trial));
    });
  });
}

/** Keep the place of a figure that is not drawn yet, so that those below it are out of sight, and wait. */
function reserve(id, data) {
  const [choice] = data.figures[id].choices;
  document.querySelector(`#${id} .figure`).style.minHeight = choice ? `${choice.figure.layout.height}px` : '';
}

/** Return how much higher a figure must be where the page is so narrow that its legend has a line for each entry. */
function legendHeight(node, traces, layout) {
  if (node.clientWidth > 560 || layout.showlegend === false) return 0;
  return 20 * traces.filter((own) => own.name && own.showlegend !== false).length;
}

/** Show what can be chosen in a section, as buttons or as a list. */
function offer(id, data, redraw) {
  const node = document.querySelector(`#${id} .choice`);
  if (!node) return;
  const names = data.figures[id].choices.map((own) => own.name);
  node.hidden = names.length < 2;
  if (!names.includes(chosen[id])) chosen[id] = names[0];
  const choose = (name) => { chosen[id] = name; offer(id, data, redraw); redraw(id); };
  const list = node.querySelector('select');
  if (list) {
    list.replaceChildren(...names.map((name) => new Option(name, name, false, name === chosen[id])));
    list.onchange = () => choose(list.value);
  } else {
    const focused = node.contains(document.activeElement);
    node.replaceChildren(...names.map((name) => {
      const button = element('button', `over ${name}`);
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
