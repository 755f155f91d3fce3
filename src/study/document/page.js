// Shows what a mark of a chart stands for: to a pointer that comes near, to a finger, and to the keyboard (Tab enters a
// chart, arrows go from mark to mark, Escape hides). The text of a mark is its aria-label, a line each.
(() => {
  const tip = document.getElementById('tip');
  const reach = 28;
  let shown = null;

  const hide = () => {
    if (shown) shown.classList.remove('on');
    shown = null;
    tip.hidden = true;
  };

  const show = (mark) => {
    if (mark === shown) return;
    hide();
    shown = mark;
    mark.classList.add('on');
    tip.replaceChildren(...mark.getAttribute('aria-label').split('\n').map((line) => {
      const row = document.createElement('div');
      row.textContent = line;
      return row;
    }));
    tip.hidden = false;
    tip.style.left = tip.style.top = '0';
    const at = mark.getBoundingClientRect();
    const width = document.documentElement.clientWidth;
    const left = Math.max(12, Math.min(at.left + at.width / 2 - tip.offsetWidth / 2, width - tip.offsetWidth - 12));
    const above = at.top - tip.offsetHeight - 10;
    const top = above >= 4 ? above : at.bottom + 10;
    tip.style.left = left + window.scrollX + 'px';
    tip.style.top = top + window.scrollY + 'px';
  };

  // Of marks at (places[i].x, places[i].y) of the drawing.
  const nearest = (svg, marks, places, event) => {
    const to = svg.getScreenCTM();
    let best = null, least = reach * reach;
    marks.forEach((mark, i) => {
      const dx = to.a * places[i].x + to.e - event.clientX, dy = to.d * places[i].y + to.f - event.clientY;
      if (dx * dx + dy * dy < least) {
        least = dx * dx + dy * dy;
        best = mark;
      }
    });
    return best;
  };

  // The mark below (1) or above (-1) another: of the next series, in the next row.
  const beside = (marks, index, direction) => {
    const centre = (mark) => {
      const at = mark.getBoundingClientRect();
      return { x: at.left + at.width / 2, y: at.top + at.height / 2 };
    };
    const from = centre(marks[index]);
    let best = null, least = Infinity;
    for (const mark of marks) {
      const to = centre(mark), down = (to.y - from.y) * direction;
      const cost = 4 * Math.abs(to.x - from.x) + down;
      if (down > 1 && cost < least) {
        least = cost;
        best = mark;
      }
    }
    return best;
  };

  for (const svg of document.querySelectorAll('svg.chart')) {
    const marks = [...svg.querySelectorAll('.mark')];
    if (marks.length === 0) continue;
    marks[0].setAttribute('tabindex', '0');
    const near = svg.classList.contains('nearest');
    let places = null;  // read when they are needed: there may be thousands
    const find = (event) => {
      if (!near) return event.target.closest('.mark');
      places ??= marks.map((mark) => ({ x: mark.transform.baseVal[0].matrix.e, y: mark.transform.baseVal[0].matrix.f }));
      return nearest(svg, marks, places, event);
    };
    const point = (event) => {
      const mark = find(event);
      if (mark) show(mark); else hide();
    };
    svg.addEventListener('pointermove', point);
    svg.addEventListener('pointerdown', point);
    svg.addEventListener('pointerleave', (event) => { if (event.pointerType === 'mouse') hide(); });
    svg.addEventListener('focusin', (event) => { if (event.target.matches('.mark')) show(event.target); });
    svg.addEventListener('focusout', hide);
    svg.addEventListener('keydown', (event) => {
      const index = marks.indexOf(document.activeElement);
      const go = { ArrowRight: () => marks[index + 1], ArrowLeft: () => marks[index - 1], Home: () => marks[0],
                   End: () => marks.at(-1), ArrowDown: () => beside(marks, index, 1),
                   ArrowUp: () => beside(marks, index, -1) }[event.key];
      if (index < 0 || !go) return;
      event.preventDefault();
      const to = go();
      if (!to) return;
      marks[index].setAttribute('tabindex', '-1');
      to.setAttribute('tabindex', '0');
      to.focus();
    });
    for (const key of svg.querySelectorAll('.key[data-s]')) {
      const mates = svg.querySelectorAll(`.s[data-s="${key.dataset.s}"]`);
      key.addEventListener('pointerenter', () => {
        svg.dataset.hot = key.dataset.s;
        mates.forEach((mate) => mate.classList.add('hot'));
      });
      key.addEventListener('pointerleave', () => {
        delete svg.dataset.hot;
        mates.forEach((mate) => mate.classList.remove('hot'));
      });
    }
  }
  // In the frame of another page, which cannot look inside: how much room all of it takes.
  if (window.parent !== window) {
    const tell = () => window.parent.postMessage({ height: document.body.offsetHeight }, '*');
    // At once, too: a browser draws, and observes, no frame of another origin that is outside of the window.
    tell();
    new ResizeObserver(tell).observe(document.body);
  }
  document.addEventListener('keydown', (event) => { if (event.key === 'Escape') hide(); });
  document.addEventListener('pointerdown', (event) => { if (!event.target.closest('svg.chart')) hide(); });
})();
