"""How the page looks: light and dark, on a phone, on paper."""

REPORT_CSS = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a;
  --line: #d0d7de; --page: #ffffff; --band: #f5f7f9; --link: #005a8c;
  --good: #0a6b4f; --bad: #a63c00; --paper: #5b4b8a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec;
  --soft: #a0a8b0; --line: #3a424b; --page: #14171a; --band: #1e2328;
  --link: #6cb8e6; --good: #5cc9a0; --bad: #f0965a; --paper: #b6a6ec; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem; max-width: 62rem; color: var(--ink);
  background: var(--page); font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; }
h2 { font-size: 1.25rem; margin-top: 2.6rem; padding-top: .6rem;
  border-top: 1px solid var(--line); }
p, li { max-width: 46rem; overflow-wrap: break-word; }
a { color: var(--link); }
nav ul { columns: 2 16rem; padding-left: 1.1rem; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .87rem;
  font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding-bottom: .45rem;
  caption-side: top; }
th, td { border-bottom: 1px solid var(--line); padding: .32rem .6rem;
  text-align: left; vertical-align: top; }
thead th { background: var(--band); }
td a { color: inherit; text-decoration-color: var(--line); }
.good { color: var(--good); } .bad { color: var(--bad); }
.muted { color: var(--soft); } .paper { color: var(--paper); }
figure { margin: 1.4rem 0; }
figure img { display: block; max-width: 100%; height: auto; padding: .4rem;
  background: #fff; border-radius: 4px; }
figcaption { color: var(--soft); font-size: .87rem; margin-top: .4rem;
  max-width: 46rem; }
pre { overflow-x: auto; background: var(--band); padding: .6rem .8rem;
  font-size: .84rem; }
details summary { cursor: pointer; color: var(--link); }
tr:target { outline: 2px solid var(--link); }
.sources { font-size: .75rem; table-layout: fixed; width: 100%; }
.sources td { overflow-wrap: anywhere; }
@media print { body { max-width: none; font-size: 11px; }
  figure, tr { break-inside: avoid; } nav { display: none; }
  .scroll { overflow: visible; } }
"""
