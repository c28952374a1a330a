// A real HTTP server that answers as a test says.

import { createServer } from 'node:http';

/** Starts a server; `answer(request)` gets name, args, headers and the raw response, and gives what `reply` takes. */
export async function backend(t, answer) {
  const requests = [];
  const server = createServer(async (incoming, response) => {
    let body = '';
    for await (const chunk of incoming) body += chunk;
    const request = {
      method: incoming.method,
      name: decodeURIComponent(incoming.url.replace('/rpc/', '')),
      body,
      args: body === '' ? undefined : JSON.parse(body),
      headers: incoming.headers,
      count: requests.length + 1,
      response,
    };
    requests.push(request);
    const reply = await answer(request);
    if (!reply || response.destroyed) return;
    response.writeHead(reply.status ?? 200, {
      'content-type': 'application/json',
      ...reply.headers,
    });
    response.end(typeof reply.body === 'string' ? reply.body : JSON.stringify(reply.body));
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${server.address().port}`, requests };
}

export const ok = (data, headers) => ({ body: { success: true, data, requestId: 'r-1' }, headers });

export const fail = (status, code, { details, headers, message = `it is ${code}` } = {}) => ({
  status,
  headers,
  body: { success: false, error: { code, message, details }, requestId: 'r-1' },
});

/** A promise, and the function that settles it. */
export function signal() {
  let settle;
  const promise = new Promise((resolve) => (settle = resolve));
  return { promise, settle };
}

/** What the promise is rejected with; fails when it is not rejected. */
export async function rejection(promise) {
  let value;
  try {
    value = await promise;
  } catch (error) {
    return error;
  }
  throw new Error(`expected a rejection, got ${JSON.stringify(value)}`);
}
