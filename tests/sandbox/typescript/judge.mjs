// Drives the sandbox with the official TypeScript SDK; key and base URL come from the
// environment, where the SDK itself looks for them. Prints what it saw as one line of JSON.
import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic();
const messages = [{ role: "user", content: "Describe the harbour at dawn" }];
const asked = { model: "claude-haiku-4-5", max_tokens: 500, messages };

async function streamedText() {
  const stream = client.messages.stream(asked);
  let text = "";
  stream.on("text", (delta) => {
    text += delta;
  });
  const final = await stream.finalMessage();
  return { text, final: final.content[0].text, stopReason: final.stop_reason };
}

async function iteratedEvents() {
  const types = new Set();
  const thinking = { type: "adaptive", display: "summarized" };
  const stream = await client.messages.create({
    ...asked,
    model: "claude-opus-4-6",
    thinking,
    stream: true,
  });
  for await (const event of stream) {
    types.add(event.type);
    if (event.type === "content_block_delta") types.add(event.delta.type);
  }
  return [...types].sort();
}

async function calledTool() {
  const schema = { type: "object", properties: { city: { type: "string" } } };
  const tools = [{ name: "get_weather", input_schema: schema }];
  const question = [{ role: "user", content: "What is the weather in Lisbon?" }];
  const stream = client.messages.stream({ ...asked, messages: question, tools });
  return (await stream.finalMessage()).content[0].input;
}

async function ranBatch() {
  const batches = client.messages.batches;
  const requests = ["a", "b"].map((custom_id) => ({ custom_id, params: asked }));
  const created = await batches.create({ requests });
  let batch = created;
  while (batch.processing_status !== "ended") {
    await new Promise((resolve) => setTimeout(resolve, 50));
    batch = await batches.retrieve(created.id);
  }
  const results = {};
  for await (const row of await batches.results(batch.id)) {
    results[row.custom_id] = row.result.type;
  }
  const listed = [];
  for await (const each of batches.list({ limit: 1 })) listed.push(each.id);
  const canceled = (await batches.cancel(batch.id)).processing_status;
  const deleted = (await batches.delete(batch.id)).type;
  return { results, listed: listed.includes(batch.id), canceled, deleted };
}

async function refusedModel() {
  try {
    await client.messages.create({ ...asked, model: "gpt-4" });
  } catch (error) {
    return { notFound: error instanceof Anthropic.NotFoundError, status: error.status };
  }
  return null;
}

const tokens = await client.messages.countTokens({ model: asked.model, messages });
const model = await client.models.retrieve(asked.model);
console.log(
  JSON.stringify({
    streamed: await streamedText(),
    events: await iteratedEvents(),
    tool: await calledTool(),
    batch: await ranBatch(),
    refused: await refusedModel(),
    tokens: tokens.input_tokens,
    model: model.display_name,
  }),
);
