import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

// `npm run dev` shows edits of the page at once, on port 5173; the app, started by `forge dev`, answers its calls.
const app = process.env.FORGE_URL ?? 'http://127.0.0.1:8080';

export default defineConfig({
  plugins: [svelte()],
  resolve: { alias: { $lib: '/src/lib' } },
  server: { port: 5173, proxy: { '/rpc': app, '/auth': app, '/events': app, '/ws': { target: app, ws: true } } },
});
