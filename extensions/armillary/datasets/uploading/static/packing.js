// What was dropped or chosen as one file: a file as it is, a folder or several files as a tar made while it is sent.
// The tar (POSIX.1-2001, pax) is the same for the same files, so that an upload can go on in another session.
const BLOCK = 512;
const encoder = new TextEncoder();
const padded = (size) => Math.ceil(size / BLOCK) * BLOCK;

/** CRC-32 (ISO 3309), as Python's zlib.crc32; four bytes at a time, with a table for each. */
const CRC_TABLES = [Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit += 1) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
})];
while (CRC_TABLES.length < 4) CRC_TABLES.push(CRC_TABLES.at(-1).map((crc) => CRC_TABLES[0][crc & 255] ^ (crc >>> 8)));

/** @param {Uint8Array} bytes @param {number} crc of what comes before */
function crc32(bytes, crc = 0) {
  const [first, second, third, fourth] = CRC_TABLES;
  let at = 0;
  crc = ~crc;
  for (; at + 4 <= bytes.length; at += 4) {
    crc ^= bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
    crc = fourth[crc & 255] ^ third[(crc >>> 8) & 255] ^ second[(crc >>> 16) & 255] ^ first[crc >>> 24];
  }
  for (; at < bytes.length; at += 1) crc = first[(crc ^ bytes[at]) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** @param {string} name at most 100 bytes of it are kept @param {number} size @param {string} type */
function header(name, size, type) {
  const block = new Uint8Array(BLOCK);
  const put = (text, at) => block.set(encoder.encode(text).subarray(0, 100), at);
  const octal = (value, digits) => value.toString(8).padStart(digits, "0") + "\0";
  put(name, 0);
  put(octal(0o644, 7), 100);
  put(octal(0, 7), 108);
  put(octal(0, 7), 116);
  put(octal(size, 11), 124);
  put(octal(0, 11), 136);
  put("        " + type, 148);
  put("ustar\u000000", 257);
  put(octal(block.reduce((sum, byte) => sum + byte, 0), 6) + " ", 148);
  return block;
}

/** A name that is long or not ASCII, as a pax record: its own length, then the name in UTF-8. @param {string} path */
function pax(path) {
  const rest = encoder.encode(` path=${path}\n`);
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  const record = new Uint8Array(padded(length));
  record.set(encoder.encode(String(length)));
  record.set(rest, String(length).length);
  return [header("pax", length, "x"), record];
}

/** @param {string} path @param {File} file */
function heads(path, file) {
  const plain = path.length <= 100 && /^[\x20-\x7e]*$/.test(path);
  return [...(plain ? [] : pax(path)), header(plain ? path : "file", file.size, "0")];
}

/** One file, as it is. */
class Single {
  /** @param {File} file */
  constructor(file) { [this.file, this.name, this.title, this.size, this.modified] = [file, file.name, file.name, file.size, file.lastModified]; }
  /** @param {number} from @param {number} to */
  read(from, to) { return this.file.slice(from, to).arrayBuffer(); }
}

/** Several files as a tar. */
class Tar {
  /** @param {{path: string, file: File}[]} entries @param {string} title */
  constructor(entries, title) {
    this.entries = [...entries].sort((a, b) => (a.path < b.path ? -1 : 1));
    [this.title, this.name] = [title, `${title}.tar`];
    this.modified = this.entries.reduce((newest, { file }) => Math.max(newest, file.lastModified), 0);
    this.starts = [0];
    for (const { path, file } of this.entries) {
      const head = heads(path, file).reduce((sum, part) => sum + part.length, 0);
      this.starts.push(this.starts.at(-1) + head + padded(file.size));
    }
    this.size = this.starts.at(-1) + 2 * BLOCK;
  }

  /** @param {number} from @param {number} to */
  async read(from, to) {
    let low = 0, high = this.entries.length;
    while (low < high) {  // the last entry that starts at or before `from`
      const middle = (low + high + 1) >> 1;
      if (this.starts[middle] <= from) low = middle; else high = middle - 1;
    }
    const first = this.starts[low], parts = [];
    let end = first;
    for (; low < this.entries.length && end < to; low += 1) {
      const { path, file } = this.entries[low];
      parts.push(...heads(path, file), file, new Uint8Array(padded(file.size) - file.size));
      end = this.starts[low + 1];
    }
    if (end < to) parts.push(new Uint8Array(2 * BLOCK));
    const bytes = await new Blob(parts).slice(from - first, to - first).arrayBuffer();
    if (bytes.byteLength !== to - from) throw new Error("a file was changed");
    return bytes;
  }
}

/** Files below a dropped folder. @param {FileSystemEntry} entry @returns {AsyncGenerator<{path: string, file: File}>} */
async function* below(entry, inside = "") {
  if (entry.isFile) {
    yield { path: inside + entry.name, file: await new Promise((found, failed) => entry.file(found, failed)) };
    return;
  }
  const reader = entry.createReader();
  for (;;) {  // a reader gives a hundred at a time
    const some = await new Promise((found, failed) => reader.readEntries(found, failed));
    if (!some.length) return;
    for (const one of some) yield* below(one, `${inside}${entry.name}/`);
  }
}

/** @param {{path: string}} entry */
const hidden = ({ path }) => path.split("/").some((part) => part.startsWith(".") || ["__MACOSX", "Thumbs.db", "desktop.ini"].includes(part));
