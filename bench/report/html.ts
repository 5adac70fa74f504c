import type { Ratio } from '../load/statistics.js';
import { scenarios } from '../scenarios/index.js';
import type { Scenario } from '../scenarios/scenario.js';
import { definitions, factsOf } from './facts.js';
import { goalInterval, goalRows, goalText, goalValue } from './goals.js';
import { intervalText, isClear, ratioRows, referenceSubject, subjectUnderTest } from './markdown.js';
import { formatNumber, metricHeading } from './metrics.js';
import { escapeXml } from './plot.js';
import { allPlots, type NamedPlot } from './plots.js';
import { type BenchResults, runsOf } from './results.js';
import { scenarioTable, type Table } from './tables.js';

const style = `
:root{--ink:#1c2430;--soft:#5d6778;--line:#e3e7ee;--paper:#fff;--page:#f4f6f9;--accent:#2563eb;--best:#e8f0fe;color-scheme:light dark}
@media (prefers-color-scheme:dark){:root{--ink:#e8ecf3;--soft:#9aa5b8;--line:#2c3442;--paper:#161b22;--page:#0d1117;--accent:#6ea0ff;--best:#1a2740}}
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);font:15px/1.55 ui-sans-serif,system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:1060px;margin:0 auto;padding:40px 24px 64px}h1{font-size:28px;line-height:1.2;margin:0 0 6px;letter-spacing:-.01em}
.lead{color:var(--soft);margin:0 0 24px}.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(240px,1fr));gap:12px;margin:0 0 28px}
.fact,.card{background:var(--paper);border:1px solid var(--line);border-radius:12px}.fact{padding:12px 16px}
.fact dt{color:var(--soft);font-size:12px}.fact dd{margin:2px 0 0;font-size:13.5px;font-weight:500;line-height:1.4;overflow-wrap:anywhere}
.card{padding:22px 24px;margin:0 0 20px}.card h2{font-size:18px;margin:0}.card p.question{color:var(--soft);margin:2px 0 14px}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:8px 10px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}th{color:var(--soft);font-weight:500;font-size:12.5px;white-space:normal;vertical-align:bottom}
th:first-child,td:first-child{text-align:left}td:first-child{font-weight:600}tr:last-child td{border-bottom:0}
a{color:inherit;text-decoration-color:var(--line);text-underline-offset:3px}.ratios td{padding:5px 10px}.ratios td:nth-child(2),.ratios th:nth-child(2){text-align:left;white-space:normal}td.worse{background:#d9770626;font-weight:700;border-radius:6px}td.best{background:var(--best);font-weight:700;border-radius:6px}.spread{color:var(--soft);font-size:12px;font-weight:400;margin-left:4px}
.note{color:var(--soft);font-size:13px;margin:10px 0 0}.note::before{content:"! ";color:#d97706;font-weight:700}
figure{margin:18px 0 0}figure svg{width:100%;max-width:720px;height:auto;display:block;margin:0 auto}figcaption{color:var(--soft);font-size:13px;text-align:center;margin:6px auto 0;max-width:640px}
code,pre{font:12.5px/1.5 ui-monospace,SFMono-Regular,Menlo,"DejaVu Sans Mono",monospace}pre{background:var(--page);border-radius:8px;padding:10px 12px;overflow-x:auto;margin:6px 0 14px}
dl.words{display:grid;grid-template-columns:max-content 1fr;gap:4px 16px;margin:0}dl.words dt{font-weight:600}dl.words dd{margin:0;color:var(--soft)}
@media (max-width:600px){main{padding:24px 12px}.card{padding:16px}dl.words{grid-template-columns:1fr}}`;

/** One self-contained page: no scripts, no fonts, no pictures from elsewhere. */
export function renderHtml(results: BenchResults): string {
  const plots = allPlots(results);
  const measured = scenarios.filter(({ name }) => runsOf(results, name).length > 0);
  const title = titleOf(results);
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><title>${escapeXml(title)}</title><style>${style}</style></head><body><main>
<h1>${escapeXml(title)}</h1><p class="lead">${escapeXml(leadOf(results))}</p>
<dl class="facts">${factsOf(results)
    .map(([name, value]) => `<div class="fact"><dt>${escapeXml(name)}</dt><dd>${escapeXml(value)}</dd></div>`)
    .join('')}</dl>
${goalsCard(results)}${ratiosCard(results, measured)}
${measured.map((scenario) => section(results, scenario, plots)).join('\n')}
${subjectsCard(results)}${wordsCard(results)}
</main></body></html>\n`;
}

function titleOf({ subjects }: BenchResults): string {
  const [first, ...others] = subjects.map(({ label }) => label);
  return others.length > 1
    ? `Load test of ${first} and its peers`
    : `Load test of ${[first, ...others].join(' and ')}`;
}

/** Only for comparisons: what was to be reached. */
function goalsCard(results: BenchResults): string {
  const rows = goalRows(results).map((row) => {
    const cells = [goalInterval(row), goalText(row)].map((text) => `<td>${escapeXml(text)}</td>`).join('');
    const verdict = row.isMet ? 'best' : 'worse';
    return `<tr><td><a href="#${row.scenario}">${row.scenario}</a></td><td>${escapeXml(row.text)}</td><td class="${verdict}">${goalValue(row, row.value.ratio)}</td>${cells}</tr>`;
  });
  if (rows.length === 0) return '';
  return `<section class="card"><h2>Goals</h2><p class="question">What the project set out to reach; orange where the mean misses it.</p><div class="scroll"><table class="ratios"><thead><tr><th>Scenario</th><th>What</th><th>Measured</th><th>95% interval</th><th>Goal</th></tr></thead><tbody>${rows.join('')}</tbody></table></div></section>`;
}

/** Only for comparisons: what the rest of the page comes down to. */
function ratiosCard(results: BenchResults, measured: readonly Scenario[]): string {
  const rows = ratioRows(results, measured).map(({ scenario, metric, ratio, alternative }, index, all) => {
    const name =
      all[index - 1]?.scenario === scenario ? '' : `<a href="#${scenario}">${escapeXml(scenario)}</a>`;
    return `<tr><td>${name}</td><td>${escapeXml(metricHeading(metric))}</td>${ratioCell(ratio)}<td>${intervalText(ratio)}</td>${ratioCell(alternative)}</tr>`;
  });
  if (rows.length === 0) return '';
  return `<section class="card"><h2>${subjectUnderTest} against ${referenceSubject}</h2><p class="question">Ratios of runs of the same round; above 1 is better for ${subjectUnderTest}, whichever way the metric points. Coloured where the 95% interval excludes 1.</p><div class="scroll"><table class="ratios"><thead><tr><th>Scenario</th><th>Metric</th><th>Ratio</th><th>95% interval</th><th>against -kvu</th></tr></thead><tbody>${rows.join('')}</tbody></table></div></section>`;
}

function ratioCell(ratio: Ratio): string {
  if (ratio.count === 0) return '<td></td>';
  const verdict = isClear(ratio) ? ` class="${ratio.ratio > 1 ? 'best' : 'worse'}"` : '';
  return `<td${verdict}>${formatNumber(ratio.ratio, 2)}x</td>`;
}

function leadOf(results: BenchResults): string {
  const seeds = new Set(results.runs.map(({ seed }) => seed)).size;
  const when = results.updatedAt.slice(0, 16).replace('T', ' ');
  return `${when} UTC. Means over ${seeds} seed${seeds === 1 ? '' : 's'}${seeds > 1 ? ', ± half of the 95% interval' : ''}.`;
}

function section(results: BenchResults, scenario: Scenario, plots: readonly NamedPlot[]): string {
  const table = scenarioTable(results, scenario);
  const figures = plots
    .filter((plot) => plot.scenario === scenario.name)
    .map((plot) => `<figure>${plot.svg}<figcaption>${escapeXml(plot.caption)}</figcaption></figure>`);
  return `<section class="card" id="${scenario.name}"><h2>${escapeXml(scenario.title)}</h2><p class="question">${escapeXml(scenario.question)}</p>${tableHtml(table)}${figures.join('')}</section>`;
}

function tableHtml(table: Table): string {
  const head = ['', ...table.columns].map((name) => `<th>${escapeXml(name)}</th>`).join('');
  const body = table.rows.map(({ label, cells }) => {
    const columns = cells.map(
      ({ text, spread, isBest }) =>
        `<td${isBest ? ' class="best"' : ''}>${escapeXml(text)}${spread ? `<span class="spread">${escapeXml(spread)}</span>` : ''}</td>`,
    );
    return `<tr><td>${escapeXml(label)}</td>${columns.join('')}</tr>`;
  });
  const notes = table.rows
    .filter(({ note }) => note)
    .map(({ label, note }) => `<p class="note">${escapeXml(`${label}: ${note}`)}</p>`);
  return `<div class="scroll"><table><thead><tr>${head}</tr></thead><tbody>${body.join('')}</tbody></table></div>${notes.join('')}`;
}

function subjectsCard(results: BenchResults): string {
  const entries = results.subjects.map(
    ({ label, description, version, commands }) =>
      `<h3>${escapeXml(label)}</h3><p>${escapeXml([description, version].filter(Boolean).join(' '))}</p>${commands.map((command) => `<pre>${escapeXml(command)}</pre>`).join('')}`,
  );
  return `<section class="card"><h2>What was measured</h2>${entries.join('')}</section>`;
}

function wordsCard(results: BenchResults): string {
  const entries = definitions(results).map(
    ([word, meaning]) => `<dt>${escapeXml(word)}</dt><dd>${escapeXml(meaning)}</dd>`,
  );
  return `<section class="card"><h2>Words</h2><dl class="words">${entries.join('')}</dl></section>`;
}
