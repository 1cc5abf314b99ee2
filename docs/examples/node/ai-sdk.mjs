// Vercel's AI SDK: text, a stream and a tool loop, over each of the three formats.
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, isStepCount, streamText, tool } from "ai";
import { z } from "zod";

const router = process.env.ROUTER_URL ?? "http://localhost:8080";
const name = process.env.ROUTER_MODEL ?? "auto";
const settings = { baseURL: `${router}/v1`, apiKey: process.env.ROUTER_KEY ?? "any" };
const openai = createOpenAI(settings);
const anthropic = createAnthropic(settings);

const weather = tool({
  description: "The weather of a city",
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => {
    console.log("tool:", city);
    return "18°";
  },
});

for (const model of [openai.chat(name), openai.responses(name), anthropic(name)]) {
  const whole = await generateText({ model, prompt: "Summarise: the cat sat on the mat." });
  console.log("answer:", whole.text);
  console.log("target:", whole.response.headers["x-llmrouter-target"]);
  const stream = streamText({ model, prompt: "Translate 'good morning' into French." });
  console.log("stream:", await stream.text);
  const loop = await generateText({
    model,
    prompt: "What is the weather in Paris?",
    tools: { weather },
    stopWhen: isStepCount(3),
  });
  console.log("final:", loop.text);
}
