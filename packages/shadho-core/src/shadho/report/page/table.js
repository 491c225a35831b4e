'use strict';

// The table of all trials: a page of it at a time, sorted and searched.

const PAGE = 25;
const view = { column: 'trial', down: false, text: '', page: 0, open: null };
let rows = []; // numbers of the rows that fit the search, in order
let texts = []; // what is searched, one lower-case text for each row

function order(column, down) {
  const { values, kind } = column;
  const sign = down ? -1 : 1;
  const number = (value) => (typeof value === 'string' ? (value === 'inf' ? Infinity : -Infinity) : value);
  return (one, other) => {
    const [a, b] = kind === 'number' ? [number(values[one]), number(values[other])] : [values[one], values[other]];
    const lacks = (value) => value === null || value === '';
    if (lacks(a) || lacks(b)) return lacks(a) - lacks(b) || one - other; // what is missing comes last either way
    return (a < b ? -sign : a > b ? sign : 0) || one - other;
  };
}

/** Choose the rows that hold every word of the search, and put them in order. */
function select(trials) {
  const words = view.text.toLowerCase().split(/\s+/).filter(Boolean);
  const count = trials.columns[0].values.length;
  if (words.length && texts.length !== count) {
    texts = Array.from({ length: count }, (_, row) => [
      ...trials.columns.filter((column) => column.values[row] !== null).map((column) => `${column.name}=${column.values[row]}`),
      trials.results[row], trials.hosts[row],
    ].join('\n').toLowerCase());
  }
  rows = Array.from({ length: count }, (_, row) => row).filter((row) => words.every((word) => texts[row].includes(word)));
  const column = trials.columns.find((own) => own.name === view.column) || trials.columns[0];
  rows.sort(order(column, view.down));
}

function drawTable(data) {
  const { trials } = data;
  select(trials);
  const last = Math.max(0, Math.ceil(rows.length / PAGE) - 1);
  view.page = Math.min(view.page, last);
  const shown = rows.slice(view.page * PAGE, (view.page + 1) * PAGE);
  // A column in which no trial on this page has anything is left out, unless it orders the table.
  const columns = trials.columns.filter((own, place) => place < 4 || own.name === view.column
    || shown.some((row) => own.values[row] !== null && own.values[row] !== ''));
  const body = element('tbody');
  for (const row of shown) body.append(...tableRow(row, columns, data));
  document.querySelector('#trials table').replaceChildren(tableHead(columns, data), body);
  document.querySelector('#trials .count').textContent = `${rows.length.toLocaleString('en')} trial${rows.length === 1 ? '' : 's'}`;
  document.querySelector('#trials .place').textContent = `page ${view.page + 1} of ${last + 1}`;
  document.querySelector('#trials .pages').hidden = last === 0;
  document.querySelector('#trials .previous').disabled = view.page === 0;
  document.querySelector('#trials .next').disabled = view.page === last;
}

function tableHead(columns, data) {
  const line = element('tr');
  for (const { name, kind } of columns) {
    const cell = element('th', '', kind);
    const button = element('button', name);
    button.type = 'button';
    if (name === view.column) cell.setAttribute('aria-sort', view.down ? 'descending' : 'ascending');
    button.onclick = () => {
      view.down = name === view.column && !view.down;
      view.column = name;
      view.page = 0;
      drawTable(data);
      [...document.querySelectorAll('#trials th button')].find((own) => own.textContent === name).focus();
    };
    cell.append(button);
    line.append(cell);
  }
  const head = element('thead');
  head.append(line);
  return head;
}

function tableRow(row, columns, data) {
  const id = data.trials.columns[0].values[row];
  const line = element('tr');
  line.tabIndex = 0;
  if (data.best && data.best.trial === id) line.classList.add('best-trial');
  for (const { name, kind, values } of columns) {
    const value = values[row];
    const cell = element('td', kind === 'number' ? show(value) : value ?? '', kind);
    if (name === 'state' && value === 'failed') cell.classList.add('failed');
    line.append(cell);
  }
  const toggle = () => { view.open = view.open === id ? null : id; drawTable(data); };
  line.onclick = toggle;
  line.onkeydown = (event) => { if (event.key === 'Enter') toggle(); };
  if (view.open !== id) return [line];
  line.classList.add('open');
  return [line, details(row, id, columns.length, data.trials)];
}

function details(row, id, width, trials) {
  const list = element('dl');
  const told = trials.columns.map((own) => [own.name, own.values[row]]);
  for (const [name, value] of [...told, ['results', trials.results[row]], ['host', trials.hosts[row]]]) {
    if (value !== null && value !== '') list.append(element('dt', name), element('dd', String(value)));
  }
  const cell = element('td');
  cell.colSpan = width;
  cell.append(list);
  if (trials.tracebacks[id]) cell.append(element('pre', trials.tracebacks[id]));
  const line = element('tr', '', 'details');
  line.append(cell);
  return line;
}

/** Show one trial, wherever the table has it. */
function openTrial(id, data) {
  view.text = document.querySelector('#trials input').value = '';
  view.open = id;
  select(data.trials);
  view.page = Math.max(0, Math.floor(rows.findIndex((row) => data.trials.columns[0].values[row] === id) / PAGE));
  drawTable(data);
  document.querySelector('#trials tr.open')?.scrollIntoView({ block: 'center' });
}

/** Write a number in at most six digits. */
function show(value) {
  if (value === null) return '';
  if (typeof value === 'string' || Number.isInteger(value)) return String(value);
  return String(Number(value.toPrecision(6)));
}
