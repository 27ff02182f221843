// Changing a page in place, for panels whose kernel sends finished HTML; put before their scripts by armillary.esm.

/** @param {Element} old @param {Element} wanted */
function alignAttributes(old, wanted) {
  for (const { name } of [...old.attributes]) {
    // Whether the logs are open is the person's own choice.
    if (name !== "open" && !wanted.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of wanted.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
}

/** @param {Text} old @param {string} wanted */
function alignText(old, wanted) {
  // What is selected stays selected where text only grows.
  if (wanted.startsWith(old.data)) old.appendData(wanted.slice(old.data.length));
  else old.data = wanted;
}

/**
 * Make a node's children like those wanted, in place: elements stay the same objects, so that neither keyboard focus nor
 * selection nor a screen reader's place is lost.
 * @param {Node} old @param {Node} wanted
 */
function align(old, wanted) {
  const present = [...old.childNodes];
  const coming = [...wanted.childNodes];
  coming.forEach((child, i) => {
    const mine = present[i];
    if (!mine) old.appendChild(child);
    else if (mine.nodeName !== child.nodeName) mine.replaceWith(child);
    else if (mine instanceof Text) alignText(mine, child.data);
    else {
      alignAttributes(mine, child);
      align(mine, child);
    }
  });
  for (const child of present.slice(coming.length)) child.remove();
}
