// What gradio's markup lacks for keyboards and screen readers: radio groups, focus after a button is replaced, names.
(() => {
  const NAMES = { '#strip button': 'The 512 numbers of this face', '#preview button': 'The photo' };
  let run = null;     // the run button that has the focus

  const visible = (element) => element.isConnected && element.offsetParent !== null;

  function mend() {
    for (const group of document.querySelectorAll('fieldset:has(input[type=radio])')) {
      const title = group.querySelector('[data-testid=block-info]');
      group.setAttribute('role', 'radiogroup');
      if (title) group.setAttribute('aria-label', title.textContent.trim());
      for (const radio of group.querySelectorAll('input[type=radio]')) {
        if (radio.name !== group.id) radio.name = group.id;     // one name: one tab stop, and the arrow keys move
      }
    }
    for (const [place, name] of Object.entries(NAMES)) {
      document.querySelector(`${place}:not([aria-label])`)?.setAttribute('aria-label', name);
    }
    if (run && !visible(run) && document.activeElement === document.body) {
      const other = [...document.querySelectorAll('button.run')].find(visible);
      other?.focus({ preventScroll: true });
    }
  }

  document.addEventListener('focusin', (event) => { run = event.target.closest('button.run'); });
  let asked = false;
  const later = () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; mend(); });
  };
  new MutationObserver(later).observe(document.documentElement, {
    childList: true, subtree: true, attributes: true, attributeFilter: ['class', 'style', 'name'] });
})();
