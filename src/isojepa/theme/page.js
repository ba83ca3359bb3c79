// Bokeh draws on canvases, which CSS does not reach: dark pages get their ink here.
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const inks = {
    light: { strong: "#1d2530", soft: "#5d6675", line: "#c9ced6", grid: "#eceef1" },
    dark: { strong: "#eef1f5", soft: "#a3acba", line: "#4a5361", grid: "#2b313b" },
  };
  const paint = (ink) => {
    for (const model of Bokeh.documents.flatMap((document) => [...document._all_models.values()])) {
      const type = model.type;
      if (type === "Title") model.text_color = ink.strong;
      else if (type === "Label") model.text_color = ink.soft;
      else if (type === "Legend") model.label_text_color = ink.soft;
      else if (type === "Grid") model.grid_line_color = model.dimension === 1 ? ink.grid : null;
      else if (type.endsWith("Axis")) model.setv({
        axis_label_text_color: ink.soft, major_label_text_color: ink.soft,
        axis_line_color: ink.line, major_tick_line_color: ink.line,
      });
    }
  };
  const follow = () => paint(dark.matches ? inks.dark : inks.light);
  const start = () => {
    if (typeof Bokeh === "undefined") return;
    if (Bokeh.documents.length === 0) { requestAnimationFrame(start); return; }
    if (dark.matches) follow();
    dark.addEventListener("change", follow);
    addEventListener("beforeprint", () => paint(inks.light));
    addEventListener("afterprint", follow);
  };
  addEventListener("DOMContentLoaded", start);
})();
