import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

/** An agent to ask while developing: `PATHFLEET_API=http://127.0.0.1:8440 npm run dev`. */
const agent = process.env["PATHFLEET_API"] ?? "http://127.0.0.1:8440";

export default defineConfig({
  // The page knows relative addresses only, so that it works below any path.
  base: "./",
  plugins: [svelte()],
  build: {
    outDir: "../src/pathfleet/web/static",
    emptyOutDir: true,
    // Nothing may be inlined: the Content-Security-Policy takes no data: addresses.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: "es2022",
  },
  server: { proxy: { "/api2": agent } },
});
