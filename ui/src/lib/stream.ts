/**
 * Server-sent events over fetch: unlike EventSource, it tells the status of a refusal, and sees the comments that
 * show that the line is alive. https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
export interface Message {
  id: string;
  event: string;
  data: string;
}

/** Yield the messages of a response, several at a time as they came; an empty list is a sign of life. */
export async function* messages(body: ReadableStream<Uint8Array>): AsyncGenerator<Message[]> {
  const reader = body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop() ?? "";
      yield blocks.map(parsed).filter((message) => message.data !== "");
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

function parsed(block: string): Message {
  const message: Message = { id: "", event: "message", data: "" };
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    if (colon < 1) continue;
    const name = line.slice(0, colon);
    if (name === "id" || name === "event" || name === "data") message[name] = line.slice(colon + 1).trimStart();
  }
  return message;
}
