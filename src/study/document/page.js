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

  const nearest = (marks, x, y) => {
    let best = null, least = reach * reach;
    for (const mark of marks) {
      const at = mark.lastElementChild.getBoundingClientRect();
      const dx = at.left + at.width / 2 - x, dy = at.top + at.height / 2 - y;
      if (dx * dx + dy * dy < least) {
        least = dx * dx + dy * dy;
        best = mark;
      }
    }
    return best;
  };

  for (const svg of document.querySelectorAll('svg.chart')) {
    const marks = [...svg.querySelectorAll('.mark')];
    if (marks.length === 0) continue;
    marks[0].setAttribute('tabindex', '0');
    const find = (event) => svg.classList.contains('nearest') ? nearest(marks, event.clientX, event.clientY)
                                                               : event.target.closest('.mark');
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
      const to = { ArrowRight: index + 1, ArrowDown: index + 1, ArrowLeft: index - 1, ArrowUp: index - 1, Home: 0,
                   End: marks.length - 1 }[event.key];
      if (index < 0 || to === undefined) return;
      event.preventDefault();
      if (!marks[to]) return;
      marks[index].setAttribute('tabindex', '-1');
      marks[to].setAttribute('tabindex', '0');
      marks[to].focus();
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
  document.addEventListener('keydown', (event) => { if (event.key === 'Escape') hide(); });
  document.addEventListener('pointerdown', (event) => { if (!event.target.closest('svg.chart')) hide(); });
})();
