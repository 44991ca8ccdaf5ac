// Protobuf as a .proto file describes it, decoded without a library: what a test says about exported bytes
// holds for a reader that knows nothing of the writer. `asText` prints what `protoc --decode` prints, so that
// where protoc is installed the two decoders can be held against each other.

interface Field {
  name: string
  number: number
  type: string
  isRepeated: boolean
}

/** Messages by name, and enums as the names of their values. */
export interface ProtoFile {
  messages: ReadonlyMap<string, readonly Field[]>
  enums: ReadonlyMap<string, ReadonlyMap<number, string>>
}

export type ProtoValue = bigint | string | ProtoMessage
/** Values by the names of the fields; every field as a list. */
export interface ProtoMessage {
  [field: string]: ProtoValue[]
}

/** Reads a .proto file without nesting, imports, oneofs and options. */
export function parseProto(text: string): ProtoFile {
  const messages = new Map<string, Field[]>()
  const enums = new Map<string, Map<number, string>>()
  for (const [, kind, name, body] of text.matchAll(/^(message|enum) (\w+) \{\n([^}]*)\}/gm)) {
    if (kind === 'enum') {
      enums.set(name!, new Map(Array.from(body!.matchAll(/(\w+) = (\d+);/g), (one) => [Number(one[2]), one[1]!])))
      continue
    }
    messages.set(name!, Array.from(body!.matchAll(/(optional|repeated) (\w+) (\w+) = (\d+);/g), (one) => ({
      isRepeated: one[1] === 'repeated', type: one[2]!, name: one[3]!, number: Number(one[4]),
    })))
  }
  return { messages, enums }
}

/** Decodes one message. Throws for anything that the file does not describe. */
export function decodeMessage(file: ProtoFile, type: string, bytes: Uint8Array): ProtoMessage {
  const fields = file.messages.get(type)
  if (fields === undefined) throw new Error(`no message ${type}`)
  const message: ProtoMessage = {}
  let at = 0
  const varint = (): bigint => {
    let value = 0n
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++]
      if (byte === undefined) throw new Error(`${type} ends in the middle of a number`)
      value |= BigInt(byte & 127) << shift
      if (byte < 128) return value
    }
  }
  while (at < bytes.length) {
    const tag = Number(varint())
    const field = fields.find((one) => one.number === tag >>> 3)
    if (field === undefined) throw new Error(`${type} has no field ${tag >>> 3}`)
    const values = (message[field.name] ??= [])
    if (values.length > 0 && !field.isRepeated) throw new Error(`${type}.${field.name} stands twice`)
    const isNumber = /^(u?int|fixed)(32|64)$/.test(field.type) || file.enums.has(field.type)
    const wire = isNumber ? (field.type === 'fixed64' ? 1 : 0) : 2
    if ((tag & 7) !== wire) throw new Error(`${type}.${field.name} has wire type ${tag & 7}`)
    if (wire === 0) {
      values.push(field.type.startsWith('int') ? BigInt.asIntN(64, varint()) : varint())
    } else if (wire === 1) {
      values.push(new DataView(bytes.buffer, bytes.byteOffset + at, 8).getBigUint64(0, true))
      at += 8
    } else {
      const length = Number(varint())
      if (at + length > bytes.length) throw new Error(`${type}.${field.name} is longer than its message`)
      const part = bytes.subarray(at, at + length)
      at += length
      values.push(field.type === 'string' ? new TextDecoder('utf-8', { fatal: true }).decode(part)
        : decodeMessage(file, field.type, part))
    }
  }
  return message
}

/** The text that protoc prints: fields by their numbers, two spaces for each level. */
export function asText(file: ProtoFile, type: string, message: ProtoMessage, indent = ''): string {
  const fields = [...file.messages.get(type)!].sort((a, b) => a.number - b.number)
  return fields.flatMap(({ name, type: of }) => (message[name] ?? []).map((value) => {
    if (typeof value === 'bigint') return `${indent}${name}: ${file.enums.get(of)?.get(Number(value)) ?? value}\n`
    if (typeof value === 'string') return `${indent}${name}: "${value.replace(/["'\\]/g, '\\$&')}"\n`
    return `${indent}${name} {\n${asText(file, of, value, `${indent}  `)}${indent}}\n`
  })).join('')
}
