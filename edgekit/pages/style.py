"""The style and the one script of every page: light, dark and on paper; without the script all is there, unsorted."""

STYLE = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1c2127;--soft:#5b6672;--line:#dde2e7;--head:#f4f6f8;--link:#0b5cad;
--s0:#2f6fbb;--s1:#e08a1e;--s2:#3a9a5b;--s3:#b0476f;--s4:#7a5bc0;--s5:#8a6a3f;--s6:#1d9aa8;--s7:#c4453c;--sn:#9aa4af;
--good:#1d6b37;--goodbg:#e3f4e8;--warn:#7a4b00;--warnbg:#fff1d6;--bad:#9b1c1c;--badbg:#fde5e4;--unk:#47525e;
--unkbg:#eceff2}
@media (prefers-color-scheme:dark){:root{--bg:#14181d;--fg:#e3e8ed;--soft:#9dabb8;--line:#2e3740;--head:#1c2229;
--link:#79b8ff;--s0:#6aa5ea;--s1:#f0ab52;--s2:#6cc78c;--s3:#e082a8;--s4:#a992ea;--s5:#c5a06d;--s6:#59c6d2;--s7:#ef7d74;
--sn:#6d7a87;--good:#7fdb9e;--goodbg:#163323;--warn:#f4c26b;--warnbg:#3a2b10;--bad:#ff9a94;--badbg:#431b1b;
--unk:#b3c0cc;--unkbg:#262e36}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.5rem 1.25rem 4rem;max-width:84rem;background:var(--bg);color:var(--fg);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
h1{font-size:1.5rem;line-height:1.25;margin:0 0 .25rem;overflow-wrap:anywhere}
h2{font-size:1.1rem;margin:2.2rem 0 .7rem;padding-bottom:.25rem;border-bottom:1px solid var(--line)}
p{margin:.4rem 0;max-width:60rem}
header p{color:var(--soft)}
dl{display:grid;grid-template-columns:minmax(8rem,max-content) 1fr;gap:.25rem 1.25rem;margin:0}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
dd dl{grid-template-columns:minmax(5rem,max-content) 1fr;gap:0 1rem}
dd ul{margin:0;padding-left:1.1rem}
.none{color:var(--soft);font-style:italic}
.tiles{display:flex;flex-wrap:wrap;gap:.7rem}
.tiles div{background:var(--head);border:1px solid var(--line);border-radius:.5rem;padding:.5rem .9rem;min-width:8rem}
.tiles dd{font-size:1.25rem;font-weight:600;font-variant-numeric:tabular-nums}.tiles dt{font-size:.85em}
figure{margin:1rem 0 1.4rem}
figcaption,caption{text-align:left;font-weight:600;margin-bottom:.4rem;padding-bottom:.3rem}
svg{display:block}
.stack{border-radius:4px;overflow:hidden}.stack rect{stroke:var(--bg);stroke-width:1}
.axis{stroke:var(--line)}
.s0{fill:var(--s0);background:var(--s0)}.s1{fill:var(--s1);background:var(--s1)}.s2{fill:var(--s2);background:var(--s2)}
.s3{fill:var(--s3);background:var(--s3)}.s4{fill:var(--s4);background:var(--s4)}.s5{fill:var(--s5);background:var(--s5)}
.s6{fill:var(--s6);background:var(--s6)}.s7{fill:var(--s7);background:var(--s7)}
.s-none{fill:var(--sn);background:var(--sn)}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.2rem 1.3rem;margin:.5rem 0 0;padding:0;font-size:.92em}
.legend i{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-right:.45em}
.legend b{font-weight:600}
.axes{display:flex;flex-wrap:wrap;gap:.2rem 1.5rem;color:var(--soft);font-size:.92em}
.scroll{overflow-x:auto;margin:.6rem 0}
table{border-collapse:collapse;width:100%;font-size:.85em}
thead th{white-space:normal!important;background:var(--head);text-align:left;vertical-align:bottom;font-weight:600}
th,td{padding:.28rem .5rem;border-bottom:1px solid var(--line);vertical-align:top;text-align:left}
tbody th{font-weight:400}
.w{overflow-wrap:anywhere;min-width:8.5rem}
.swatch{display:inline-block;width:.7em;height:.7em;border-radius:2px;margin-right:.4em}
.n{text-align:right!important;white-space:nowrap;font-variant-numeric:tabular-nums}
thead button{all:unset;cursor:pointer;white-space:normal}thead button:focus-visible{outline:2px solid var(--link)}
thead button::after{content:"\\a0⇅";color:var(--soft)}
thead [aria-sort=ascending] button::after{content:"\\a0↑"}thead [aria-sort=descending] button::after{content:"\\a0↓"}
.bars{max-width:60rem}.bars th{width:34%;overflow-wrap:anywhere}
.bars td.n{width:1%}.bars .m{width:50%;vertical-align:middle}
.bars th,.bars td{padding:.16rem .6rem}
.meter{min-width:5rem;background:var(--head);border-radius:2px;overflow:hidden}
.badge{padding:.05em .5em;border-radius:.3em}
ul.notes{margin:.6rem 0;padding:.5rem .8rem .5rem 1.9rem;border-radius:.4rem;overflow-wrap:anywhere}
.t-good{background:var(--goodbg);color:var(--good)}.t-warn{background:var(--warnbg);color:var(--warn)}
.t-bad{background:var(--badbg);color:var(--bad)}.t-unknown{background:var(--unkbg);color:var(--unk)}
tr.t-good,tr.t-warn,tr.t-bad,tr.t-unknown{color:inherit}
td.t-good::before,.badge.t-good::before{content:"✓\\a0"}td.t-warn::before,.badge.t-warn::before{content:"!\\a0"}
td.t-bad::before,.badge.t-bad::before{content:"✗\\a0"}td.t-unknown::before,.badge.t-unknown::before{content:"?\\a0"}
@media print{body{max-width:none;padding:0;font-size:11px}thead{display:table-header-group}tr{break-inside:avoid}
.scroll{overflow:visible}thead button::after{content:""}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
@media (max-width:40rem){main>section>dl:not(.tiles){grid-template-columns:1fr;gap:0}section>dl>dd{margin-bottom:.4rem}}
"""

# What a page has beside that: plots with axes, and a verdict that is seen first.
PLOT_STYLE = """
.plot{padding:1.2rem 1.6rem 1.5rem 4.2rem}.plot svg{overflow:visible}
.plot text{font-size:12px;fill:var(--soft);font-variant-numeric:tabular-nums}
.plot .e{text-anchor:end}.plot .m{text-anchor:middle}
.grid{stroke:var(--line)}
.whole{fill:transparent}g:hover>.whole{fill:var(--head)}.band{fill:var(--s0);opacity:.42}g:hover>.band{opacity:.8}
.lines path{fill:none;stroke-width:1.75;vector-effect:non-scaling-stroke;stroke-linejoin:round}
.lines,.plot .said,.ref{pointer-events:none}
.l-s0{stroke:var(--s0)}.l-s1{stroke:var(--s1)}.l-s2{stroke:var(--s2)}.l-s3{stroke:var(--s3)}.l-s4{stroke:var(--s4)}
.l-s5{stroke:var(--s5)}.l-s6{stroke:var(--s6)}.l-s7{stroke:var(--s7)}.l-s-none{stroke:var(--sn)}
.ref{stroke-width:1.5;stroke-dasharray:7 4}.ref.limit{stroke:var(--bad)}.ref.other{stroke:var(--warn)}
.plot .said{paint-order:stroke;stroke:var(--bg);stroke-width:4px;stroke-linejoin:round;font-weight:600}
.plot .said.limit{fill:var(--bad)}.plot .said.other{fill:var(--warn)}
.mark circle{fill:var(--fg);stroke:var(--bg);stroke-width:1.5}.mark.worst circle{fill:var(--s7)}
.whisker{stroke:var(--fg);stroke-width:2}
.axis-y,.axis-x{color:var(--soft);font-size:.85em;margin:0;max-width:none}.axis-y{padding-left:1rem}.axis-x{text-align:center}
.legend .key{width:1.3em;vertical-align:middle;border-radius:1px}
.key.band{background:var(--s0)}.key.median{background:var(--s0);height:2px}.key.heat{background:var(--s1);height:2px}
.key.worst,.key.interval{width:.75em;height:.75em;border-radius:50%}
.key.worst{background:var(--s7)}.key.interval{background:var(--fg)}
.key.limit,.key.other{height:0;background:none;border-top:2px dashed var(--bad)}.key.other{border-color:var(--warn)}
.parts{min-width:9rem}.scroll caption{max-width:calc(100vw - 2.5rem)}
.banner{padding:.8rem 1.1rem;border-radius:.6rem;border:1px solid var(--line);background:var(--head)}
.banner strong{display:block;font-size:2rem;line-height:1.2;letter-spacing:.01em}
.banner.t-good,.banner.t-warn,.banner.t-bad,.banner.t-unknown{border-color:currentColor}
.banner.t-good{background:var(--goodbg)}.banner.t-warn{background:var(--warnbg)}.banner.t-bad{background:var(--badbg)}
.banner.t-good strong::before{content:"✓\\a0"}.banner.t-warn strong::before{content:"!\\a0"}
.banner.t-bad strong::before{content:"✗\\a0"}
@media (max-width:40rem){.plot{padding-left:3.4rem;padding-right:1.1rem}.axis-y{padding-left:.2rem}
.banner strong{font-size:1.6rem}}
@media screen and (max-width:40rem){.stacks thead{display:none}
.stacks table,.stacks caption,.stacks tbody,.stacks tr,.stacks th,.stacks td{display:block;width:auto}
.stacks tr{border-bottom:1px solid var(--line);padding:.3rem 0}.stacks th,.stacks td{border:0}
.stacks tbody th{font-weight:600;overflow-wrap:anywhere}.stacks .n{text-align:left!important;white-space:normal}
.stacks td:not([class*=t-])::before{content:attr(data-label);display:inline-block;min-width:8.5rem;color:var(--soft)}}
@media print{figure{break-inside:avoid}h2{break-after:avoid}}
"""

# Sorting by a click or the keyboard; unknown values stay last. data-v is the number behind a cell's text.
SCRIPT = """
document.querySelectorAll("thead").forEach(function(head){
 var body=head.parentNode.tBodies[0];
 Array.prototype.forEach.call(head.rows[0].cells,function(th,i){
  var b=document.createElement("button");b.type="button";
  while(th.firstChild)b.appendChild(th.firstChild);th.appendChild(b);
  var key=function(row){var c=row.cells[i];if(c.querySelector(".none"))return null;
   var t=c.dataset.v||c.textContent;
   return th.classList.contains("n")?parseFloat(t.replace(/,/g,"")):t;};
  b.addEventListener("click",function(){
   var was=th.getAttribute("aria-sort"),first=th.classList.contains("n")?"descending":"ascending";
   var now=was===null?first:was==="ascending"?"descending":"ascending";
   Array.prototype.forEach.call(head.rows[0].cells,function(o){o.removeAttribute("aria-sort");});
   th.setAttribute("aria-sort",now);var sign=now==="ascending"?1:-1;
   Array.from(body.rows).sort(function(x,y){var p=key(x),q=key(y);
    if(p===null||q===null)return (p===null)-(q===null);
    return sign*(typeof p==="number"?p-q:p.localeCompare(q,undefined,{numeric:true}));
   }).forEach(function(row){body.appendChild(row);});
  });
 });
});
"""
