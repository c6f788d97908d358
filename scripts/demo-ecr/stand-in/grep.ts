import { readFileSync } from 'node:fs';

/** `grep --ignore-case "a\|b"` where the grep of the machine does not know this spelling. */
const [option, pattern = ''] = process.argv.slice(2);
if (option !== '--ignore-case') throw new Error('this knows --ignore-case PATTERN and nothing else');
const wanted = new RegExp(pattern.replaceAll('\\|', '|'), 'i');
const lines = readFileSync(0, 'utf8').split('\n');
const found = lines.filter((line) => wanted.test(line));
process.stdout.write(found.map((line) => `${line}\n`).join(''));
process.exitCode = found.length > 0 ? 0 : 1;
