import wire from '../generated/protobuf.json' with { type: 'json' };
import { ApiError, badRequest } from '../status.ts';

/** The media type of Kubernetes' protobuf envelope. */
export const PROTOBUF = 'application/vnd.kubernetes.protobuf';

export function isProtobuf(mediaType: string): boolean {
  return mediaType === PROTOBUF;
}

/**
 * One field of a message: its number, its name in JSON, its type, and letters: `r` repeated, `m` map
 * from strings, `i` inlined in JSON, `o` left out of JSON when zero, `p` a pointer (present or not).
 */
type Field = readonly [number, string, string, string?];

/** Facts of Kubernetes' wire format: messages by short name, and the message of each kind. */
const KINDS: Readonly<Record<string, string>> = wire.kinds;
const MESSAGES = wire.messages as unknown as Readonly<Record<string, readonly Field[]>>;
const MAGIC = Buffer.from('k8s\0');
const DEPTH = 100;
const NOTHING: Buffer = Buffer.alloc(0);

type Value = unknown;

/**
 * Reads an object that a client-go program sent as protobuf: the envelope `runtime.Unknown` and in
 * it the message of a built-in kind.
 *
 * @throws ApiError `BadRequest` for bytes that are none, `UnsupportedMediaType` for other kinds
 */
export function decodeProtobuf(bytes: Buffer): Record<string, unknown> {
  if (!bytes.subarray(0, 4).equals(MAGIC)) throw damaged('the envelope is missing');
  let type = NOTHING;
  let raw = NOTHING;
  for (const { number, bytes: content } of new Reader(bytes.subarray(4)).fields()) {
    if (number === 1) type = content;
    if (number === 2) raw = content;
  }
  const names = new Map(
    [...new Reader(type).fields()].map((one) => [one.number, one.bytes.toString('utf8')]),
  );
  const [apiVersion = '', kind = ''] = [names.get(1), names.get(2)];
  const message = kind === 'DeleteOptions' ? 'meta.DeleteOptions' : KINDS[`${apiVersion} ${kind}`];
  if (message === undefined) {
    throw new ApiError(
      'UnsupportedMediaType',
      `${apiVersion}, Kind=${kind} is not known as protobuf: send JSON`,
    );
  }
  return { apiVersion, kind, ...decodeMessage(message, raw, 0) };
}

function damaged(why: string): ApiError {
  return badRequest(`the protobuf body cannot be read: ${why}`);
}

const tables = new Map<string, ReadonlyMap<number, Field>>();

function fieldsOf(message: string): ReadonlyMap<number, Field> {
  let table = tables.get(message);
  if (table === undefined) {
    table = new Map((MESSAGES[message] ?? []).map((field) => [field[0], field]));
    tables.set(message, table);
  }
  return table;
}

function decodeMessage(message: string, bytes: Buffer, depth: number): Record<string, unknown> {
  if (depth > DEPTH) throw damaged('nested too deeply');
  const result = new Map<string, unknown>();
  const table = fieldsOf(message);
  for (const part of new Reader(bytes).fields()) {
    const field = table.get(part.number);
    if (field === undefined) continue;
    const [, name, type, flags = ''] = field;
    if (flags.includes('i')) {
      for (const [key, value] of Object.entries(decodeMessage(type, part.bytes, depth + 1)))
        result.set(key, value);
    } else if (flags.includes('m')) {
      const map = (result.get(name) ?? Object.create(null)) as Record<string, unknown>;
      const [key, value] = decodeEntry(type, part.bytes, depth);
      map[key] = value;
      result.set(name, map);
    } else if (flags.includes('r')) {
      const list = (result.get(name) ?? []) as unknown[];
      list.push(decodeValue(type, part, depth));
      result.set(name, list);
    } else {
      const value = decodeValue(type, part, depth);
      if (value !== undefined && !(flags.includes('o') && isZero(value))) result.set(name, value);
    }
  }
  return Object.fromEntries(result);
}

function isZero(value: Value): boolean {
  return value === '' || value === 0 || value === false;
}

function decodeEntry(type: string, bytes: Buffer, depth: number): [string, Value] {
  let key = '';
  let value: Value;
  for (const part of new Reader(bytes).fields()) {
    if (part.number === 1) key = part.bytes.toString('utf8');
    if (part.number === 2) value = decodeValue(type, part, depth);
  }
  return [key, value ?? (type === 'string' || type === 'bytes' ? '' : decodeMessage(type, NOTHING, depth))];
}

function decodeValue(type: string, part: Part, depth: number): Value {
  switch (type) {
    case 'string':
      return part.bytes.toString('utf8');
    case 'bytes':
      return part.bytes.toString('base64');
    case 'bool':
      return part.varint !== 0n;
    case 'double':
      return part.double;
    case 'int32':
    case 'int64':
    case 'uint32':
    case 'uint64':
      return Number(BigInt.asIntN(64, part.varint));
    default:
      return (SPECIAL[type] ?? decodeMessage)(type, part.bytes, depth + 1);
  }
}

type Decode = (type: string, bytes: Buffer, depth: number) => Value;

/** Types whose JSON is not an object of their fields. */
const SPECIAL: Readonly<Record<string, Decode>> = {
  'meta.Time': (_type, bytes) => time(bytes, 0),
  'meta.MicroTime': (_type, bytes) => time(bytes, 6),
  'meta.Duration': (_type, bytes) => `${Number(numbers(bytes).get(1) ?? 0n) / 1e9}s`,
  'meta.FieldsV1': (_type, bytes) => raw(bytes),
  'runtime.RawExtension': (_type, bytes) => raw(bytes),
  'apiextensions.v1.JSON': (_type, bytes) => raw(bytes),
  'api.resource.Quantity': (_type, bytes) => text(bytes, 1),
  'util.intstr.IntOrString': (_type, bytes) => {
    const found = numbers(bytes);
    return (found.get(1) ?? 0n) === 1n ? text(bytes, 3) : Number(BigInt.asIntN(32, found.get(2) ?? 0n));
  },
  'authentication.v1.ExtraValue': items,
  'authorization.v1.ExtraValue': items,
  'certificates.v1.ExtraValue': items,
  'apiextensions.v1.JSONSchemaPropsOrArray': (type, bytes, depth) => {
    const { schema, jSONSchemas } = decodeMessage(type, bytes, depth);
    return jSONSchemas ?? schema;
  },
  'apiextensions.v1.JSONSchemaPropsOrBool': (type, bytes, depth) => {
    const { schema, allows } = decodeMessage(type, bytes, depth);
    return schema ?? allows ?? false;
  },
  'apiextensions.v1.JSONSchemaPropsOrStringArray': (type, bytes, depth) => {
    const { schema, property } = decodeMessage(type, bytes, depth);
    return property ?? schema;
  },
};

function numbers(bytes: Buffer): ReadonlyMap<number, bigint> {
  return new Map([...new Reader(bytes).fields()].map((part) => [part.number, part.varint]));
}

function text(bytes: Buffer, number: number): string {
  for (const part of new Reader(bytes).fields())
    if (part.number === number) return part.bytes.toString('utf8');
  return '';
}

function items(_type: string, bytes: Buffer): Value {
  return [...new Reader(bytes).fields()].map((part) => part.bytes.toString('utf8'));
}

function raw(bytes: Buffer): Value {
  const json = text(bytes, 1);
  if (json === '') return undefined;
  try {
    return JSON.parse(json) as unknown;
  } catch {
    throw damaged('an embedded object is not JSON');
  }
}

/** RFC 3339, with so many digits behind the second; nothing for the zero time of Go. */
function time(bytes: Buffer, digits: number): string | undefined {
  const found = numbers(bytes);
  const seconds = Number(BigInt.asIntN(64, found.get(1) ?? 0n));
  const nanos = Number(BigInt.asIntN(32, found.get(2) ?? 0n));
  if (found.size === 0 || seconds < -62_135_596_800 + 1 || seconds > 253_402_300_799) return undefined;
  const whole = new Date(seconds * 1000).toISOString().slice(0, 19);
  const fraction = digits === 0 ? '' : `.${String(nanos).padStart(9, '0').slice(0, digits)}`;
  return `${whole}${fraction}Z`;
}

/** One field as it lies in a message; only the member that its wire type fills means anything. */
interface Part {
  readonly number: number;
  readonly varint: bigint;
  readonly double: number;
  readonly bytes: Buffer;
}

/** Reads the wire format of protocol buffers. */
class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  *fields(): Generator<Part> {
    while (this.#at < this.#bytes.length) {
      const tag = Number(this.#varint());
      yield this.#part(tag >>> 3, tag & 7);
    }
  }

  #part(number: number, wireType: number): Part {
    const empty = { number, varint: 0n, double: 0, bytes: NOTHING };
    switch (wireType) {
      case 0:
        return { ...empty, varint: this.#varint() };
      case 1:
        return { ...empty, double: this.#take(8).readDoubleLE() };
      case 2:
        return { ...empty, bytes: this.#take(Number(this.#varint())) };
      case 5:
        return { ...empty, double: this.#take(4).readFloatLE() };
      default:
        throw damaged('an unknown wire type');
    }
  }

  #take(length: number): Buffer {
    const end = this.#at + length;
    if (end > this.#bytes.length) throw damaged('it ends too early');
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }

  #varint(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.#bytes[this.#at];
      if (byte === undefined) throw damaged('it ends too early');
      this.#at += 1;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw damaged('a number is too long');
  }
}
