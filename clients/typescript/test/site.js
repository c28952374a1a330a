// A back end that knows one session, held by cookies, and a browser whose tabs share them.

import { createForgeClient } from '../node_modules/.cache/forge-client/client/client.js';
import { backend, fail, ok } from './backend.js';

/** A back end with a session of ada's, whose access token is `access-0` at first; all but `me` and `sign_in` need it. */
export async function site(t, { before } = {}) {
  const state = { access: 0, alive: true, refreshes: 0, atOnce: 0, most: 0 };
  const granted = () => ({
    'set-cookie': state.alive
      ? [`access=access-${state.access}`, 'refresh=refresh']
      : ['access=; Max-Age=0', 'refresh=; Max-Age=0'],
  });
  const served = await backend(t, async (request) => {
    const { name, headers } = request;
    const cookies = headers.cookie ?? '';
    if (name === '/auth/refresh') {
      state.refreshes += 1;
      state.most = Math.max(state.most, (state.atOnce += 1));
      await new Promise(setImmediate);
      state.atOnce -= 1;
      if (headers['x-forge-csrf'] !== '1') return fail(403, 'CSRF_REFUSED');
      const early = before?.refresh?.(request);
      if (early) return early;
      if (!state.alive || !cookies.includes('refresh=refresh')) {
        state.alive = false;
        return fail(401, 'UNAUTHORIZED', { headers: granted() });
      }
      state.access += 1;
      return ok({ accessExpiresAt: 1 }, granted());
    }
    if (name === 'sign_in') {
      state.alive = true;
      state.access += 1;
      return ok('ada', { ...granted(), 'x-forge-session': 'started' });
    }
    const somebody = state.alive && cookies.includes(`access=access-${state.access};`);
    await before?.[name]?.(request);
    if (somebody && name === 'sign_out') {
      state.alive = false;
      return ok(null, { ...granted(), 'x-forge-session': 'ended' });
    }
    if (somebody) return ok('ada');
    const told = cookies.includes('refresh=') ? { 'x-forge-session': 'renew' } : {};
    if (name === 'me') return ok(null, told);
    const begun = before?.begins === name ? {} : { 'www-authenticate': 'Bearer error="invalid_token"' };
    return fail(401, 'UNAUTHORIZED', { headers: { ...told, ...begun } });
  });
  const asked = () => served.requests.map(({ name }) => name);
  return { ...served, state, asked };
}

/** A browser that has ada's cookies; `open` gives a client in a new tab, and what it was told about being signed out. */
export function browser(url, cookies = { access: 'access-old', refresh: 'refresh' }) {
  const jar = new Map(Object.entries(cookies));
  const cookieHeader = () => [...jar].map(([name, value]) => `${name}=${value};`).join(' ');
  const send = async (input, init) => {
    init.headers.set('cookie', cookieHeader());
    const response = await fetch(input, init);
    for (const line of response.headers.getSetCookie()) {
      const [, name, value] = /^(\w+)=([^;]*)/.exec(line);
      if (value === '') jar.delete(name);
      else jar.set(name, value);
    }
    return response;
  };
  const open = (options = {}) => {
    const signedOut = [];
    const onSignedOut = (error) => signedOut.push(error.code);
    const base = { url, cookies: true, fetch: send, retries: 0, onSignedOut };
    return { ...createForgeClient({ ...base, ...options }), signedOut };
  };
  return { send, open };
}
