/**
 * A page's bytes without its hole (5592 bytes, withoutHole of fixturePage), compressed by the libraries that PostgreSQL links: liblz4 1.9.4
 * LZ4_compress_default and libzstd 1.5.4 ZSTD_compress(level 3). The PostgreSQL of the tests is built without them.
 */
export const HOLE = { offset: 400, length: 2600 };

/** The page: text-like rows around a hole of zeros. */
export function fixturePage(): Buffer {
  const page = Buffer.alloc(8192);
  for (let i = 0; i < 8192; i++) {
    if (i >= HOLE.offset && i < HOLE.offset + HOLE.length) continue;
    const row = Math.floor(i / 64);
    const text = `account ${String(row).padStart(8, '0')} balance`.padEnd(64, '.');
    page[i] = i % 64 < 60 ? text.charCodeAt(i % 64) : (row * 7919 + i) & 0xff;
  }
  return page;
}

export function withoutHole(page: Buffer): Buffer {
  return Buffer.concat([page.subarray(0, HOLE.offset), page.subarray(HOLE.offset + HOLE.length)]);
}

// prettier-ignore
export const LZ4_BLOCK =
  'k2FjY291bnQgMAEAnyBiYWxhbmNlLgEAEEs8PT4/QAAfMUAAGUtrbG1uQAAfMkAAGUuam5ydQAAfM0AAGUvJysvMQAAfNEAAGUv4' +
  '+fr7QAAfNUAAGUsnKCkqQAAQNncBSq6vsLEYAC80N1gAGUvd3t/gQAAfOEAAGUsMDQ4PQAAfOUAAGUo7PD0+QAAvNTBAABlLamts' +
  'bUAAD1gCGkuZmpucQAAPWAIaS8jJystAAA9YAhpL9/j5+kAAD1gCGksmJygpQAAPWAIaS1VWV1hAAB82gAEZS4SFhodAAA+AAhpL' +
  's7S1tkAAD4ACGkvi4+TlQAAPgAIaShESExRAAB82gAIaS0BBQkNAAA+AAhpLb3BxckAAD4ACGkuen6ChQAAPgAIaS83Oz9BAAA+A' +
  'AhpL/P3+/0AAD4ACGksrLC0uQAAPgAIaS1pbXF1AAA+AAhpLiYqLjEAAD4ACGku4ubq7QAAPgAIaSufo6epAAB83gAIaSxYXGBlA' +
  'AA+AAhpLRUZHSEAAD4ACGkt0dXZ3QAAPgAIaS6OkpaZAAA+AAhpL0tPU1UAAD4ACGksBAgMEQAAPgAIaSzAxMjNAAA+AAhpLX2Bh' +
  'YkAAD4ACGkuOj5CRQAAPgAIaSr2+v8BAAB84gAIaS+zt7u9AAA+AAhpLGxwdHkAAD4ACGktKS0xNQAAPgAIaS3l6e3xAAA+AAhpL' +
  'qKmqq0AAD4ACGkvX2NnaQAAPgAIaSwYHCAlAAA+AAhpLNTY3OEAAD4ACGktkZWZnQAAPgAIaSpOUlZZAAB85gAIaS8LDxMVAAA+A' +
  'AhpL8fLz9EAAD4ACGksgISIjQAAPgAIaS09QUVJAAA+AAhpLfn+AgUAAD4ACGkutrq+wQAAPgAIaS9zd3t9AAA+AAhpLCwwNDkAA' +
  'D4ACGks6Ozw9QAAPgAIaSWlqa2xAAB8x2A4bS5iZmptAAA+AAhpLx8jJykAAD4ACGkv29/j5QAAPgAIaSyUmJyhAAA+AAhpLVFVW' +
  'V0AAD4ACGkuDhIWGQAAPgAIaS7KztLVAAA+AAhpL4eLj5EAAD4ACGksQERITQAAPgAIaSj9AQUJAAB8xAAUaS25vcHFAAA+AAhpL' +
  'nZ6foEAAD4ACGkvMzc7PQAAPgAIaS/v8/f5AAA+AAhpLKissLUAAD4ACGktZWltcQAAPgAIaS4iJiotAAA+AAhpLt7i5ukAAD4AC' +
  'Gkvm5+jpQAAPgAIaShUWFxhAAB8ygAIaS0RFRkdAAA+AAhpLc3R1dkAAD4ACGkuio6SlQAAPgAIaS9HS09RAAA+AAhpLAAECA0AA' +
  'D4ACGksvMDEyQAAPgAIaS15fYGFAAA+AAhlQLo2Oj5A=';

// prettier-ignore
export const ZSTD_FRAME =
  'KLUv/WDYFBUTAHQdYWNjb3VudCAwIGJhbGFuY2UuPD0+PzFrbG1uMpqbnJ0zycrLzDT4+fr7NScoKSo2rq+wsTQ33d7f4DQ4DA0O' +
  'DzQ5Ozw9PjUwamtsbTUxmZqbnDXIycrLNff4+fo1JicoKTVVVldYNTaEhYaHN7O0tbY44uPk5TkREhMUNjBAQUJDMW9wcXIynp+g' +
  'oTPNzs/QNPz9/v81KywtLjZaW1xdN4mKi4w4uLm6uznn6OnqNzAWFxgZMUVGR0gydHV2dzOjpKWmNNLT1NU1AQIDBDYwMTIzN19g' +
  'YWI4jo+QkTm9vr/AODDs7e7vMRscHR4ySktMTTN5ent8NKipqqs119jZ2jYGBwgJNzU2Nzg4ZGVmZzmTlJWWOTDCw8TFMfHy8/Qy' +
  'ICEiIzNPUFFSNH5/gIE1ra6vsDbc3d7fNwsMDQ44Ojs8PTlpamtsMZiZmpsxx8jJyjH29/j5MSUmJygxVFVWVzGDhIWGMTCys7S1' +
  'MTDh4uPkMTAQERITMTA/QEFCMW5vcHExnZ6foDHMzc7PMfv8/f4xKissLTFZWltcMYiJiosxt7i5ujHm5+jpMRUWFxgyREVGRzJz' +
  'dHV2MqKjpKUy0dLT1DIAAQIDMi8wMTIyXl9gYTKNjo+QgLCoEHAU+GbQO4XGEkAQSBA4BCYU/D9C4B8mIZVOBp0MNRk6MnRS6GTQ' +
  'yVATLC8UNMUdZOfEVTPc4gT7tlWJC80djUmFoYz1NUwVBwQHJBcy11Iw1JzRmFQcCFxcwVBzVnNTcytznYapglrDp2hJcbtFgvAp' +
  'CD4FRWzt4LykMqi5lZ4hMQDTFKY=';
