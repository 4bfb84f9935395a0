"""The one stylesheet, for the pieces of HTML; colours switch with the theme in the browser."""

from dashboard.looks import PROVIDER_COLOURS

_SLOT_STYLE = "\n".join(
    f".tw-slot-{slot} {{ --tw-slot: light-dark({light}, {dark}); }}"
    for slot, (light, dark) in enumerate(PROVIDER_COLOURS)
)

STYLE = f"""<style>
.stMainBlockContainer {{ max-width: 1560px; padding-left: clamp(1rem, 3vw, 2.5rem);
  padding-right: clamp(1rem, 3vw, 2.5rem); }}
.stApp {{ --tw-idle-mark: light-dark(#8d95a3, #7b8494); --tw-text: light-dark(#1b1f27, #e8eaf0);
  --tw-muted: light-dark(#5b6472, #a9b1be); --tw-line: light-dark(#e2e5ea, #2c313c);
  --tw-rule: light-dark(#e9ebef, #262b35); --tw-quiet: light-dark(#eef0f3, #242832);
  --tw-spark: light-dark(#c5d2f3, #2c3f74); --tw-good: light-dark(#11663e, #7bd6aa);
  --tw-good-bg: light-dark(#e6f5ec, #12301f); --tw-bad: light-dark(#a8261f, #f79b93);
  --tw-bad-bg: light-dark(#fdecea, #3a1d1c); --tw-warn: light-dark(#8f4a0a, #f2b87f);
  --tw-warn-bg: light-dark(#fdf1e3, #38270f); --tw-good-mark: light-dark(#1a8754, #4fbf8a);
  --tw-bad-mark: light-dark(#c8322b, #ee6a60); --tw-warn-mark: light-dark(#d9731a, #ea9a4d); }}
/* Dialogs stand outside of the app and know no colour scheme: their own text colour does. */
.stDialog {{ --tw-idle-mark: #848c9b; --tw-text: currentColor;
  --tw-muted: color-mix(in srgb, currentColor 68%, transparent);
  --tw-line: color-mix(in srgb, currentColor 16%, transparent);
  --tw-rule: color-mix(in srgb, currentColor 12%, transparent);
  --tw-quiet: color-mix(in srgb, currentColor 10%, transparent);
  --tw-spark: transparent; --tw-good: currentColor; --tw-bad: currentColor; --tw-warn: currentColor;
  --tw-good-bg: color-mix(in srgb, #1a8754 26%, transparent);
  --tw-bad-bg: color-mix(in srgb, #c8322b 26%, transparent);
  --tw-warn-bg: color-mix(in srgb, #d9731a 26%, transparent); --tw-good-mark: #35a06f;
  --tw-bad-mark: #d8493f; --tw-warn-mark: #e08533; }}
.stDialog .tw-cards {{ grid-template-columns: repeat(2, minmax(0, 1fr)); gap: .6rem; }}
{_SLOT_STYLE}
.tw-title {{ display: flex; align-items: center; gap: .9rem; flex-wrap: wrap; min-height: 2.5rem; }}
.tw-title h1 {{ font-size: 1.35rem; font-weight: 650; margin: 0; padding: 0; }}
.tw-dot {{ display: inline-block; width: .5rem; height: .5rem; border-radius: 50%;
  margin-right: .4rem; background: var(--tw-good-mark); }}
.tw-dot.warn {{ background: var(--tw-warn-mark); }}
.tw-dot.bad {{ background: var(--tw-bad-mark); }}
.tw-note {{ color: var(--tw-muted); font-size: .82rem; }}
.tw-cards {{ display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); gap: 1rem; }}
.tw-cards.five {{ grid-template-columns: repeat(5, minmax(0, 1fr)); }}
.tw-card {{ position: relative; border: 1px solid var(--tw-line); border-radius: .5rem;
  padding: .6rem .85rem .55rem; min-width: 0; }}
.tw-card .label {{ color: var(--tw-muted); font-size: .8rem; }}
.tw-card .value {{ font-size: 1.55rem; font-weight: 600; letter-spacing: -.015em; line-height: 1.3;
  white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }}
.tw-card .note {{ color: var(--tw-muted); font-size: .8rem; min-height: 1.15em; white-space: nowrap;
  overflow: hidden; text-overflow: ellipsis; }}
.tw-card .note b {{ font-weight: 600; color: var(--tw-text); }}
.tw-card .note b.tw-good {{ color: var(--tw-good); }}
.tw-card .note b.tw-bad {{ color: var(--tw-bad); }}
.tw-card .spark {{ position: absolute; top: .75rem; right: .85rem; width: 34%; height: 1.9rem;
  background: var(--tw-spark); }}
@media (max-width: 900px) {{
  .tw-cards, .tw-cards.five {{ grid-template-columns: repeat(2, minmax(0, 1fr)); gap: .6rem; }}
  .tw-card .value {{ font-size: 1.32rem; }} .tw-card .spark {{ width: 26%; }} }}
@media (max-width: 900px) {{ .tw-cards.five .tw-card:last-child {{ grid-column: span 2; }} }}
@media (max-width: 480px) {{ .tw-card .spark {{ display: none; }}
  .tw-card .note {{ white-space: normal; }} .st-key-period button {{ padding-inline: .5rem; }} }}
.tw-heading {{ font-size: 1rem; display: flex; flex-wrap: wrap; gap: .2rem 1rem;
  align-items: baseline; }}
.tw-heading span {{ min-width: 0; overflow-wrap: anywhere; }}
/* Isolated, so that a name that is written from right to left turns nothing beside it round. */
.tw-heading b {{ font-weight: 600; unicode-bidi: isolate; }}
.tw-scroll {{ overflow-x: auto; }}
.tw-table {{ width: 100%; border-collapse: collapse; font-size: .87rem; margin: 0; }}
.tw-table th, .tw-table td {{ border: 0; border-bottom: 1px solid var(--tw-rule);
  padding: .42rem .5rem .42rem 0; text-align: left; vertical-align: top; white-space: nowrap; }}
.tw-table td:not(.wrap) {{ max-width: 24rem; overflow: hidden; text-overflow: ellipsis; }}
.tw-table td.wrap {{ white-space: normal; overflow-wrap: anywhere; min-width: 8rem; }}
.tw-table th {{ color: var(--tw-muted); font-weight: 600; font-size: .78rem; }}
.tw-table a {{ color: light-dark(#2f5bd0, #8aa6e8); text-decoration: none; }}
.tw-table tr:last-child td {{ border-bottom: 0; }}
.tw-table .right {{ text-align: right; padding-right: 0; padding-left: .7rem; }}
.tw-table .right + .left {{ padding-left: 1.2rem; }}
.tw-table tr.total td {{ font-weight: 600; }} .tw-table tr.quiet td {{ color: var(--tw-muted); }}
.tw-sub {{ color: var(--tw-muted); font-size: .78rem; }}
.tw-swatch {{ display: inline-block; width: .62rem; height: .62rem; border-radius: 2px;
  margin-right: .45rem; background: var(--tw-slot, var(--tw-idle-mark)); }}
.tw-swatch.good {{ background: var(--tw-good-mark); }}
.tw-swatch.warn {{ background: var(--tw-warn-mark); }}
.tw-swatch.bad {{ background: var(--tw-bad-mark); }}
.tw-bar {{ height: .27rem; border-radius: .2rem; background: var(--tw-quiet);
  margin-top: .35rem; min-width: 5rem; }}
.tw-bar i {{ display: block; height: 100%; border-radius: .2rem;
  background: var(--tw-slot, var(--tw-idle-mark)); }}
.tw-bar.good i {{ background: light-dark(#2f5bd0, #4f74da); }}
.tw-bar.warn i {{ background: var(--tw-warn-mark); }}
.tw-bar.bad i {{ background: var(--tw-bad-mark); }}
.tw-bar {{ position: relative; }}
.tw-bar u {{ position: absolute; top: -.1rem; width: 2px; height: .47rem;
  background: var(--tw-muted); }}
@media (max-width: 480px) {{ .tw-table {{ font-size: .82rem; }}
  .tw-table .right {{ padding-left: .4rem; }}
  .tw-bar {{ min-width: 3.5rem; }} .tw-table td.wrap {{ min-width: 6rem; }} }}
.tw-chip {{ display: inline-block; max-width: 100%; overflow-wrap: anywhere;
  border-radius: .3rem; padding: .08rem .4rem; font-size: .78rem;
  background: var(--tw-quiet); color: var(--tw-muted); }}
.tw-chip.good {{ background: var(--tw-good-bg); color: var(--tw-good); }}
.tw-chip.bad {{ background: var(--tw-bad-bg); color: var(--tw-bad); }}
.tw-chip.warn {{ background: var(--tw-warn-bg); color: var(--tw-warn); }}
.tw-good {{ color: var(--tw-good); }} .tw-bad {{ color: var(--tw-bad); }}
.tw-facts {{ display: grid; gap: .7rem 1.5rem;
  grid-template-columns: repeat(auto-fill, minmax(min(170px, 46%), 1fr)); }}
.tw-facts .label {{ color: var(--tw-muted); font-size: .78rem; }}
.tw-facts .value {{ font-size: .9rem; overflow-wrap: anywhere; }}
.stVegaLiteChart .mark-text text {{ fill: var(--tw-text) !important; }}
.stVegaLiteChart .role-axis-label text,
.stVegaLiteChart .role-legend-label text {{ fill: var(--tw-muted) !important; }}
.st-key-period button p {{ text-transform: capitalize; }}
.st-key-editor textarea, .st-key-dry_run textarea {{ font-size: .85rem;
  font-family: "Source Code Pro", monospace; }}
</style>"""
