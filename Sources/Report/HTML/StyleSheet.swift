// How the report looks. Colours are Okabe and Ito's (2008), which people with any colour vision can
// tell apart; lines differ in dash and dots in shape besides. Light and dark follow the reader's
// system, paper is always light. No font, image or style is fetched.

extension Markup {
    static let styleSheet = Markup(trusted: palette + page + tables + charts + media)
}

private let palette = """
    :root {
      color-scheme: light dark;
      --ground: #ffffff; --sheet: #f6f7f8; --ink: #16191d; --soft: #5a636d; --rule: #dde1e5;
      --direct: #0072b2; --mesh: #c04a00; --apps: #00805c; --load: #6b747d; --error: #b0307a;
      --pass: #00734f; --fail: #b3261e; --doubt: #8a6100; --band: #eef1f4;
      --arm-0: #0072b2; --arm-1: #c04a00; --arm-2: #00805c; --arm-3: #b0307a;
      --arm-4: #8a6100; --arm-5: #2a7fc0; --arm-6: #6b4fa0; --arm-7: #4a525a;
    }
    @media (prefers-color-scheme: dark) {
      :root {
        --ground: #14171a; --sheet: #1c2024; --ink: #e8eaed; --soft: #a2abb4; --rule: #343a41;
        --direct: #56b4e9; --mesh: #f0a040; --apps: #35c79b; --load: #98a2ac; --error: #e58fbf;
        --pass: #4fd1a1; --fail: #ff8a80; --doubt: #f0c14b; --band: #1f2429;
        --arm-0: #56b4e9; --arm-1: #f0a040; --arm-2: #35c79b; --arm-3: #e58fbf;
        --arm-4: #f0c14b; --arm-5: #8fb8ff; --arm-6: #bda4f0; --arm-7: #c4ccd4;
      }
    }

    """

private let page = """
    * { box-sizing: border-box; }
    html { -webkit-text-size-adjust: 100%; }
    body {
      margin: 0; background: var(--ground); color: var(--ink);
      font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans",
        sans-serif;
      font-variant-numeric: tabular-nums; overflow-wrap: break-word;
    }
    main, body > header, body > footer { max-width: 1220px; margin: 0 auto; padding: 0 32px; }
    body > header { padding-top: 32px; }
    .brand { color: var(--soft); font-size: 13px; margin: 0; }
    h1 { font-size: 30px; line-height: 1.2; letter-spacing: -0.01em; margin: 2px 0 6px; }
    h2 {
      font-size: 20px; margin: 44px 0 4px; padding-top: 18px; border-top: 1px solid var(--rule);
    }
    h3 { font-size: 15px; margin: 24px 0 4px; }
    h4 { font-size: 14px; margin: 0 0 4px; }
    p { margin: 4px 0 10px; max-width: 78ch; }
    .about { color: var(--soft); font-size: 16px; }
    .meta { color: var(--soft); font-size: 13px; max-width: none; }
    .note, figcaption { color: var(--soft); font-size: 13px; max-width: 90ch; }
    code, pre, .source { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
    code, .source { font-size: 13px; }
    nav { margin-top: 20px; font-size: 13px; }
    nav a { color: var(--soft); margin-right: 16px; white-space: nowrap; }
    nav a:hover, nav a:focus { color: var(--ink); }
    .banner {
      margin: 20px 0 0; padding: 20px 24px; background: var(--sheet); border-radius: 8px;
      border-left: 8px solid var(--tone);
    }
    .pass { --tone: var(--pass); } .fail { --tone: var(--fail); }
    .inconclusive { --tone: var(--doubt); } .invalid { --tone: var(--fail); }
    .banner .word { font-size: 26px; font-weight: 700; color: var(--tone); line-height: 1.2; }
    .banner .sign { display: inline-block; min-width: 1.1em; }
    .banner .partial {
      font-size: 13px; font-weight: 600; border: 1.5px dashed currentColor; border-radius: 4px;
      padding: 2px 8px; margin-left: 12px; vertical-align: 4px; color: var(--doubt);
    }
    .banner p { margin: 6px 0 0; }
    .banner ul { margin: 10px 0 0; padding-left: 20px; }
    .banner .warning { color: var(--soft); }
    .cards { display: grid; grid-template-columns: repeat(4, 1fr); gap: 16px; margin: 16px 0 0; }
    .card { border: 1px solid var(--rule); border-radius: 8px; padding: 14px 16px; }
    .card .what { color: var(--soft); font-size: 13px; }
    .card .big { font-size: 26px; font-weight: 650; line-height: 1.25; white-space: nowrap; }
    .card .sub { color: var(--soft); font-size: 13px; }
    .grid { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 28px 32px; }
    .grid.four { grid-template-columns: repeat(4, minmax(0, 1fr)); gap: 20px; }
    .facts { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 8px 40px; }
    dl { display: grid; grid-template-columns: minmax(110px, max-content) 1fr; margin: 0; }
    dt { color: var(--soft); padding: 3px 18px 3px 0; }
    dd { margin: 0; padding: 3px 0; min-width: 0; }
    dt, dd { font-size: 14px; overflow-wrap: anywhere; }
    pre {
      background: var(--sheet); border-radius: 6px; padding: 12px 16px; font-size: 13px;
      white-space: pre-wrap; overflow-wrap: anywhere; margin: 8px 0;
    }
    button {
      font: inherit; font-size: 13px; color: var(--ink); background: none; cursor: pointer;
      border: 1px solid var(--rule); border-radius: 5px; padding: 3px 12px;
    }
    body > footer { color: var(--soft); font-size: 13px; padding-bottom: 48px; margin-top: 48px; }

    """

private let tables = """
    .scroll { overflow-x: auto; }
    table { border-collapse: collapse; margin: 10px 0; width: 100%; font-size: 14px; }
    caption { text-align: left; color: var(--soft); font-size: 13px; padding-bottom: 6px; }
    th, td { padding: 5px 14px 5px 0; text-align: left; vertical-align: baseline; }
    th { color: var(--soft); font-weight: 500; font-size: 13px; white-space: nowrap; }
    thead th { border-bottom: 1px solid var(--rule); }
    tbody tr + tr > * { border-top: 1px solid var(--rule); }
    tbody tr.close > * { border-top: 0; }
    th.number, td.number { text-align: right; white-space: nowrap; }
    td.number:last-child, th.number:last-child { padding-right: 4px; }
    tbody th { color: var(--ink); font-size: 14px; font-weight: 500; }
    th .source { white-space: normal; }
    td.main { font-weight: 650; }
    td small, td .small { display: block; color: var(--soft); font-size: 12px; line-height: 1.3; }
    td.weak { color: var(--soft); font-style: italic; }
    td.bad { color: var(--fail); font-weight: 650; }
    .verdict { color: var(--tone); font-weight: 650; white-space: nowrap; }
    .arm { white-space: nowrap; }
    .arm::before {
      content: ""; display: inline-block; width: 9px; height: 9px; margin-right: 7px;
      background: var(--line); border-radius: 1px;
    }
    .arm.arm-0::before, .arm.arm-4::before { border-radius: 50%; }
    td.strip-cell { width: 190px; padding-right: 0; vertical-align: middle; }
    details { margin: 14px 0 0; }
    summary { cursor: pointer; font-size: 14px; font-weight: 650; padding: 4px 0; }

    """

private let charts = """
    figure { margin: 18px 0 0; min-width: 0; }
    svg.chart { display: block; width: 100%; height: auto; overflow: visible; }
    svg.chart:focus-visible { outline: 2px solid var(--direct); outline-offset: 4px; }
    svg text { font-size: 12px; fill: var(--ink); font-family: inherit; }
    svg .tick, svg .axis-title { fill: var(--soft); }
    svg .end, svg .group, svg .phase { font-weight: 600; }
    .key { font-size: 12.5px; color: var(--soft); margin: 0 0 6px; max-width: none; }
    .key span { margin-right: 18px; white-space: nowrap; }
    .swatch { vertical-align: -1px; margin-right: 6px; height: 12px; }
    .grid line, line.grid { stroke: var(--rule); stroke-width: 1; }
    .axis { stroke: var(--soft); stroke-width: 1; }
    .arm-0 { --line: var(--arm-0); } .arm-1 { --line: var(--arm-1); }
    .arm-2 { --line: var(--arm-2); } .arm-3 { --line: var(--arm-3); }
    .arm-4 { --line: var(--arm-4); } .arm-5 { --line: var(--arm-5); }
    .arm-6 { --line: var(--arm-6); } .arm-7 { --line: var(--arm-7); }
    .curve { fill: none; stroke: var(--line); stroke-width: 2.2; stroke-linejoin: round; }
    .curve.dashed { stroke-dasharray: 7 4; stroke-width: 1.8; }
    .curve.dotted { stroke-dasharray: 1.5 4; stroke-linecap: round; stroke-width: 2.4; }
    .curve.long { stroke-dasharray: 14 5; } .curve.mixed { stroke-dasharray: 10 4 2 4; }
    .curve.faint { stroke-width: 1.2; stroke-opacity: 0.55; }
    .curve.round { stroke-width: 1; stroke-opacity: 0.28; }
    .curve.offered { stroke: var(--soft); stroke-width: 1.6; stroke-dasharray: 2 3; }
    svg text.end { fill: var(--line); } svg text.end.offered { fill: var(--soft); }
    .dot { fill: var(--line); stroke: var(--ground); stroke-width: 1; }
    .dot.hollow { fill: var(--ground); stroke: var(--line); stroke-width: 1.6; }
    .hit { fill: transparent; }
    .hit.shown, .hit:hover { fill: var(--ink); }
    .shown.dot { stroke: var(--ink); stroke-width: 2.5; }
    .slot, .band-0 { fill: var(--band); } .band-1 { fill: none; }
    .band-unmeasured { fill: url(#hatch-none); } .band-edge { stroke: var(--rule); }
    .error-bar { fill: var(--line); }
    .change { fill: var(--soft); stroke: var(--ground); stroke-width: 1; }
    .fault-band { fill: var(--fail); opacity: 0.09; }
    .fault-bar { fill: var(--fail); opacity: 0.75; }
    svg text.fault { fill: var(--ground); font-size: 11px; font-weight: 600; }
    .change-line { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 1 3; }
    .user.proxies { fill: var(--mesh); } .system.proxies { fill: url(#hatch-proxies); }
    .user.apps { fill: var(--apps); } .system.apps { fill: url(#hatch-apps); }
    .user.control { fill: var(--direct); } .system.control { fill: url(#hatch-control); }
    .user.load { fill: var(--load); } .system.load { fill: url(#hatch-load); }
    .hatch-proxies { stroke: var(--mesh); } .hatch-apps { stroke: var(--apps); }
    .hatch-control { stroke: var(--direct); }
    .hatch-load { stroke: var(--load); } .hatch-none { stroke: var(--rule); }
    .bar:hover rect, .bar.shown rect { stroke: var(--ink); stroke-width: 1; }
    svg .value { fill: var(--soft); }
    .series-0 { --line: var(--mesh); } .series-1 { --line: var(--error); }
    .series-2 { --line: var(--apps); } .series-3 { --line: var(--direct); }
    .series-4 { --line: var(--doubt); } .series-5 { --line: var(--load); }
    .step-interval { stroke: var(--line); stroke-width: 3.5; stroke-opacity: 0.75; }
    .zero { stroke: var(--soft); stroke-width: 1.4; }
    .fit { fill: none; stroke: var(--line); stroke-width: 1.8; }
    .fit.series-1, .fit.series-4 { stroke-dasharray: 8 4; }
    .fit.series-2, .fit.series-5 { stroke-dasharray: 2 4; }
    .strip { display: block; } .strip .zero { stroke: var(--soft); }
    .strip .reach { stroke: var(--rule); stroke-width: 3; }
    .strip .interval { stroke: var(--ink); stroke-width: 2.5; }
    .strip .interval-end { stroke: var(--ink); stroke-width: 1.5; }
    .strip .estimate { fill: var(--ink); }
    .tip {
      position: fixed; z-index: 9; left: 0; top: 0; max-width: 420px; padding: 6px 10px;
      border-radius: 5px; background: var(--ink); color: var(--ground); font-size: 13px;
      pointer-events: none; visibility: hidden;
    }
    .tip.on { visibility: visible; }
    .doubtful { position: relative; }
    .doubtful svg, .doubtful table { filter: grayscale(1); opacity: 0.55; }
    .stamp {
      display: inline-block; color: var(--fail); border: 1.5px solid currentColor;
      border-radius: 4px; padding: 2px 10px; font-weight: 650; font-size: 13px; margin: 10px 0 0;
    }

    """

private let media = """
    @media (max-width: 900px) {
      main, body > header, body > footer { padding-left: 16px; padding-right: 16px; }
      .grid, .facts { grid-template-columns: minmax(0, 1fr); }
      .grid.four, .cards { grid-template-columns: repeat(2, minmax(0, 1fr)); }
      h1 { font-size: 24px; }
      .card .big { font-size: 21px; }
    }
    @media (max-width: 560px) {
      .grid.four { grid-template-columns: minmax(0, 1fr); }
      .card { padding: 10px 12px; }
      tbody th { white-space: normal; min-width: 90px; }
      .source { display: block; min-width: 17ch; max-width: 22ch; overflow-wrap: anywhere; }
      dl { grid-template-columns: 1fr; } dt { padding-bottom: 0; } dd { padding-top: 0; }
    }
    @media print {
      @page { size: A4; margin: 14mm 12mm; }
      :root {
        color-scheme: light;
        --ground: #ffffff; --sheet: #f6f7f8; --ink: #000000; --soft: #4a525a; --rule: #cfd4d9;
        --direct: #0072b2; --mesh: #c04a00; --apps: #00805c; --load: #6b747d; --error: #b0307a;
        --pass: #00734f; --fail: #b3261e; --doubt: #8a6100; --band: #eef1f4;
        --arm-0: #0072b2; --arm-1: #c04a00; --arm-2: #00805c; --arm-3: #b0307a;
        --arm-4: #8a6100; --arm-5: #2a7fc0; --arm-6: #6b4fa0; --arm-7: #4a525a;
      }
      * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
      body { font-size: 11px; }
      main, body > header, body > footer { max-width: none; padding: 0; }
      nav, button, .tip { display: none; }
      details::details-content { content-visibility: visible; block-size: auto; }
      table, td, th, tbody th, dt, dd, pre, caption, summary, .source, .note, figcaption, .key, p {
        font-size: 10px;
      }
      td small, .brand, .meta { font-size: 9px; }
      .about { font-size: 12px; } h3, h4 { font-size: 11px; }
      .banner p, .banner li { font-size: 11px; }
      .stamp { font-size: 10px; }
      summary { list-style: none; }
      .note, summary { break-after: avoid; }
      th, td { padding: 3px 8px 3px 0; }
      .scroll { overflow: visible; }
      svg.chart { min-width: 0 !important; }
      .cards { grid-template-columns: repeat(4, 1fr); }
      .grid, .facts { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 16px; }
      .grid.four { grid-template-columns: repeat(4, minmax(0, 1fr)); gap: 10px; }
      .card { padding: 8px 10px; } .card .big { font-size: 17px; } .card .sub { font-size: 10px; }
      h1 { font-size: 22px; } h2 { font-size: 16px; margin-top: 24px; padding-top: 10px; }
      h2, h3, h4 { break-after: avoid; }
      p, li { orphans: 3; widows: 3; }
      /* A heading keeps room below it, so that none stands alone at the foot of a page. */
      h2 { break-inside: avoid; }
      h2::after { content: ""; display: block; height: 62mm; margin-bottom: -62mm; }
      .card .what { font-size: 10px; }
      figure, tr, .card, .banner { break-inside: avoid; }
    }
    """
