import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

// `npm run dev` serves the page; what the back end answers is asked for there.
const backEnd = 'http://127.0.0.1:8080';

export default defineConfig({
  plugins: [svelte()],
  build: { outDir: 'dist', target: 'es2022' },
  server: { proxy: { '/rpc': backEnd, '/auth': backEnd, '/events': backEnd, '/ws': { target: backEnd, ws: true } } },
});
