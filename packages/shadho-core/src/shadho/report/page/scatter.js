'use strict';

// Any two columns of the table over each other, in the colours of a third.

const BY_RANK = 'rank';
const LOSS = 2; // the place of its column
const axes = { x: null, y: null, colour: BY_RANK, log: { x: null, y: null } };

function columnOf(name, data) {
  return data.trials.columns.find((own) => own.name === name);
}

/** Return whether a logarithmic axis shows all of a column, and whether it should have one. */
function logarithm({ kind, values }) {
  const known = kind === 'number' ? values.filter((value) => typeof value === 'number') : [];
  const least = known.reduce((one, other) => Math.min(one, other), Infinity);
  const most = known.reduce((one, other) => Math.max(one, other), -Infinity);
  const fits = known.length > 0 && least > 0;
  const decades = fits ? Math.log10(most / least) : 0;
  const dtick = decades > 2.5 ? Math.max(1, Math.round(decades / 7)) : decades > 0.5 ? 'D2' : undefined;
  return { fits, suits: decades > 2, dtick };
}

function offerAxes(data, redraw) {
  const bar = document.querySelector('#scatter .axes');
  const names = data.trials.columns.map((own) => own.name).filter((name) => name !== 'error');
  if (!names.includes(axes.x)) axes.x = data.scatter.x;
  if (!names.includes(axes.y)) axes.y = data.scatter.y;
  if (axes.colour !== BY_RANK && !names.includes(axes.colour)) axes.colour = BY_RANK;
  const list = (key, title, options) => {
    const label = element('label', `${title} `, 'choice');
    const select = element('select');
    select.replaceChildren(...options.map(([name, text]) => new Option(text, name, false, name === axes[key])));
    select.onchange = () => { axes[key] = select.value; if (key !== 'colour') axes.log[key] = null; offerAxes(data, redraw); redraw(); };
    label.append(select);
    return label;
  };
  const log = (key) => {
    const { fits, suits } = logarithm(columnOf(axes[key], data));
    if (axes.log[key] === null) axes.log[key] = suits;
    const button = element('button', 'log');
    button.type = 'button';
    button.title = `logarithmic ${key}`;
    button.hidden = !fits;
    button.className = 'log';
    button.setAttribute('aria-pressed', String(axes.log[key]));
    button.onclick = () => { axes.log[key] = !axes.log[key]; offerAxes(data, redraw); redraw(); };
    return button;
  };
  const own = names.map((name) => [name, name]);
  const ranked = [[BY_RANK, `rank of ${data.loss}`], ...own];
  bar.hidden = false;
  bar.replaceChildren(list('x', 'Across', own), log('x'), list('y', 'Up', own), log('y'), list('colour', 'Colour', ranked));
}

/** Return the rank of some trials among themselves by their loss, from 0, the best, to 1; null without a finite one. */
function ranks(rows, data) {
  const { values } = data.trials.columns[LOSS];
  const order = rows.filter((row) => typeof values[row] === 'number');
  order.sort((one, other) => data.sign * (values[one] - values[other]));
  const found = new Array(values.length).fill(null);
  order.forEach((row, rank) => { found[row] = order.length > 1 ? rank / (order.length - 1) : 0; });
  return found;
}

function drawScatter(data, openTrial) {
  const [x, y] = [columnOf(axes.x, data), columnOf(axes.y, data)];
  const ids = data.trials.columns[0].values;
  const present = (value) => value !== null && value !== '' && typeof value !== 'undefined';
  const rows = ids.map((_, row) => row).filter((row) => present(x.values[row]) && present(y.values[row]));
  if (!rows.length) { tellInstead('scatter', 'No trial has both.'); document.querySelector('#scatter .axes').hidden = false; return; }
  const { traces, legend } = coloured(rows, data);
  const title = (name) => ({ text: escaped(name), standoff: 8, font: { size: 13 } });
  const axis = (key, column) => ({
    title: title(column.name), type: column.kind === 'text' ? 'category' : axes.log[key] ? 'log' : 'linear',
    dtick: axes.log[key] ? logarithm(column).dtick : undefined, automargin: true, zeroline: false,
    exponentformat: 'power', gridcolor: colour('#e6e6e6', data), linecolor: colour('#777777', data), showline: key === 'x', showgrid: key === 'y',
  });
  const size = Math.min(8, Math.max(3.5, 200 / Math.sqrt(rows.length)));
  const drawn = traces.map((trace) => ({
    type: webgl && rows.length > 1000 ? 'scattergl' : 'scatter', mode: 'markers', name: escaped(trace.name),
    x: trace.rows.map((row) => x.values[row]), y: trace.rows.map((row) => y.values[row]), customdata: trace.rows.map((row) => ids[row]),
    text: trace.text.map(escaped), showlegend: legend,
    hovertemplate: `trial %{customdata}<br>${escaped(x.name)} %{x}<br>${escaped(y.name)} %{y}<br>%{text}<extra></extra>`,
    marker: { size, opacity: 0.9, line: { width: 0.5, color: colour('#777777', data) }, ...trace.marker },
  }));
  const ink = colour('#333333', data);
  const paper = colour('#ffffff', data);
  const layout = {
    height: 420, xaxis: axis('x', x), yaxis: axis('y', y), showlegend: legend, paper_bgcolor: paper, plot_bgcolor: paper,
    font: { family: 'system-ui, sans-serif', size: 13, color: ink }, margin: { l: 8, r: 8, t: 24, b: 8 }, hovermode: 'closest',
    hoverlabel: { bgcolor: paper, font: { color: ink } },
    legend: { orientation: 'h', x: 0, y: 1.03, yanchor: 'bottom', itemsizing: 'constant', bgcolor: 'rgba(0,0,0,0)' },
  };
  plot('scatter', drawn, layout, `${axes.x} ${axes.y} ${axes.colour}`, openTrial);
}

/** Divide rows into traces: one for each of few texts, else one with a scale of colours. */
function coloured(rows, data) {
  const blues = data.blues.map((blue, place) => [place / (data.blues.length - 1), colour(blue, data)]);
  const column = columnOf(axes.colour, data);
  if (column && column.kind === 'text') {
    const texts = [...new Set(rows.map((row) => column.values[row]).filter(Boolean))];
    const common = texts.slice(0, data.colours.length);
    const groups = common.map((text, place) => [text, colour(data.colours[place], data), (value) => value === text]);
    const shown = new Set(common);
    groups.push(['others', colour('#bbbbbb', data), (value) => !shown.has(value)]);
    const traces = groups.map(([name, own, fits]) => {
      const found = rows.filter((row) => fits(column.values[row]));
      return { name, rows: found, text: found.map((row) => String(column.values[row] ?? '')), marker: { color: own } };
    });
    return { traces: traces.filter((trace) => trace.rows.length), legend: true };
  }
  const rank = column ? null : ranks(rows, data);
  const values = column ? column.values : rank;
  const finite = (row) => typeof values[row] === 'number';
  const known = rows.filter(finite);
  if (rank) known.sort((one, other) => rank[other] - rank[one]); // the best lie uppermost
  const loss = data.trials.columns[LOSS].values;
  const told = known.map((row) => (column ? `${column.name} ${show(values[row])}` : `${data.loss} ${show(loss[row])}`));
  const bar = { thickness: 12, outlinewidth: 0, title: { text: column ? escaped(column.name) : 'rank' } };
  if (rank) Object.assign(bar, { tickmode: 'array', tickvals: [0, 0.5, 1], ticktext: ['best', 'middle', 'worst'] });
  const traces = [];
  const others = rows.filter((row) => !finite(row));
  if (others.length) traces.push({ name: 'others', rows: others, text: others.map(() => ''), marker: { color: colour('#bbbbbb', data), symbol: 'x-thin-open' } });
  if (known.length) {
    traces.push({ name: '', rows: known, text: told, marker: {
      color: known.map((row) => values[row]), colorscale: blues, showscale: true, colorbar: bar, ...(rank ? { cmin: 0, cmax: 1 } : {}),
    } });
  }
  return { traces, legend: false };
}
