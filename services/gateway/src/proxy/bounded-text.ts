// The body of an answer that the gateway itself has asked for. It is measured while it arrives: a server that sends without
// end must not fill the memory.

/**
 * @param maxBytes of the body without its content coding
 * @throws Error with the code DOCUMENT_TOO_LARGE beyond `maxBytes`; the connection is closed then
 */
export async function readBoundedText(response: Response, maxBytes: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  // Leaving the loop by an error cancels the stream, which closes the connection.
  for await (const chunk of response.body ?? []) {
    size += chunk.byteLength;
    if (size > maxBytes) throw Object.assign(new Error('the document is too large'), { code: 'DOCUMENT_TOO_LARGE' });
    chunks.push(chunk);
  }
  return new TextDecoder().decode(Buffer.concat(chunks));
}
