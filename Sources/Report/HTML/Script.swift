// The page's only script: tips beside the pointer, arrow keys along the points of a chart, and a
// button that copies the command. Without it the page lacks nothing: tips are then the browser's
// own. It holds no `<` and no `&`, so that it is XML as it stands.

extension Markup {
    static let script = Markup(
        trusted: """
            "use strict";
            (function () {
              var tip = document.createElement("div");
              tip.className = "tip";
              tip.setAttribute("role", "status");
              document.body.appendChild(tip);
              function show(point) {
                var frame = point.getBoundingClientRect();
                tip.textContent = point.dataset.tip;
                tip.classList.add("on");
                var x = frame.left + frame.width / 2 - tip.offsetWidth / 2;
                var most = document.documentElement.clientWidth - tip.offsetWidth - 8;
                var y = frame.top - tip.offsetHeight - 8;
                tip.style.left = Math.max(8, Math.min(x, most)) + "px";
                tip.style.top = (8 > y ? frame.bottom + 8 : y) + "px";
                point.classList.add("shown");
              }
              function hide() {
                tip.classList.remove("on");
                document.querySelectorAll(".shown").forEach(function (point) {
                  point.classList.remove("shown");
                });
              }
              document.querySelectorAll(".pt").forEach(function (point) {
                var title = point.querySelector("title");
                point.dataset.tip = title.textContent;
                title.remove();
                point.addEventListener("pointerenter", function () { hide(); show(point); });
                point.addEventListener("pointerleave", hide);
              });
              document.querySelectorAll("svg.chart").forEach(function (chart) {
                var points = Array.from(chart.querySelectorAll(".pt"));
                var at = -1;
                chart.addEventListener("keydown", function (event) {
                  var step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
                  if (event.key === "Escape") { hide(); }
                  if (!step || points.length === 0) { return; }
                  event.preventDefault();
                  at = (at + step + points.length + (at === -1 ? (step === 1 ? 0 : 1) : 0))
                    % points.length;
                  hide();
                  show(points[at]);
                });
                chart.addEventListener("blur", hide);
              });
              document.querySelectorAll("button.copy").forEach(function (button) {
                button.hidden = !navigator.clipboard;
                button.addEventListener("click", function () {
                  var command = button.parentElement.querySelector("pre").textContent;
                  navigator.clipboard.writeText(command).then(
                    function () { button.textContent = "copied"; }, function () {});
                });
              });
            })();
            """)
}
