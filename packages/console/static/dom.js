/** An element. Text goes in as text, never as markup; children that are nothing are left out. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(
    ...children.flat().filter((child) => child !== undefined && child !== false && child !== ''),
  );
  return element;
}

/**
 * Makes what is in `parent` look like `children`, and leaves alone what is the same: focus, selection
 * and scroll positions outlive an update. Elements with listeners are matched by their `id`.
 */
export function show(parent, children) {
  const wanted = children.filter((child) => child !== undefined && child !== false);
  for (const [index, next] of wanted.entries()) {
    const present = parent.childNodes[index];
    const node = typeof next === 'string' ? document.createTextNode(next) : next;
    if (present === undefined) parent.append(node);
    else update(present, node);
  }
  while (parent.childNodes.length > wanted.length) parent.lastChild.remove();
}

function update(present, next) {
  if (present.nodeType !== next.nodeType || present.nodeName !== next.nodeName || present.id !== next.id) {
    present.replaceWith(next);
    return;
  }
  if (present.nodeType === Node.TEXT_NODE) {
    if (present.data !== next.data) present.data = next.data;
    return;
  }
  for (const { name } of [...present.attributes]) {
    if (!next.hasAttribute(name)) present.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) {
    if (present.getAttribute(name) !== value) present.setAttribute(name, value);
  }
  show(present, [...next.childNodes]);
}
