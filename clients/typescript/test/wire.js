// A real server of live queries that says what a test says: WebSocket over `node:http`, no more of RFC 6455 than is used.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';

/** Starts a server; `answer` answers HTTP calls as in `backend.js`, `greet` is called with every new session. */
export async function wire(t, { answer, greet = (session) => session.hello() } = {}) {
  const sessions = queue();
  const requests = [];
  const server = createServer(async (incoming, response) => {
    let body = '';
    for await (const chunk of incoming) body += chunk;
    if (incoming.url === '/events') {
      if (refused('events')) return void response.destroy();
      const session = new Stream(incoming, response, `s${streams.size + 1}`);
      streams.set(session.id, session);
      greet(session);
      return void sessions.push(session);
    }
    if (incoming.url.startsWith('/events/')) {
      const session = streams.get(incoming.url.slice('/events/'.length));
      const status = session && !session.over ? session.hear(incoming, JSON.parse(body)) : 404;
      return void response.writeHead(status, { 'content-type': 'application/json' }).end('');
    }
    const name = decodeURIComponent(incoming.url.replace('/rpc/', ''));
    const request = { name, args: JSON.parse(body || '{}'), headers: incoming.headers };
    requests.push(request);
    if (!answer) return void response.destroy();
    const reply = await answer(request);
    if (!reply || response.destroyed) return;
    response.writeHead(reply.status ?? 200, {
      'content-type': 'application/json',
      ...reply.headers,
    });
    response.end(JSON.stringify(reply.body));
  });
  const streams = new Map();
  const sockets = new Set();
  let refuse = false;
  const refused = (kind) =>
    typeof refuse === 'function' ? refuse(kind) : refuse === true || refuse === kind;
  let upgrades = 0;
  server.on('upgrade', (request, socket) => {
    socket.on('error', () => {});
    upgrades += 1;
    if (refused('upgrades')) return void socket.destroy();
    assert.equal(request.headers['sec-websocket-protocol'], 'forge.v1');
    assert.equal(request.url, '/ws');
    const accept = createHash('sha1')
      .update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
      .digest('base64');
    socket.write(
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
        `Sec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Protocol: forge.v1\r\n\r\n`,
    );
    sockets.add(socket);
    const session = new Session(socket, request);
    greet(session);
    sessions.push(session);
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.closeAllConnections();
    server.close();
  });
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    requests,
    /** The next connection. */
    session: () => sessions.next('a connection'),
    /** How many connections there were that nobody has asked for. */
    get waiting() {
      return sessions.size;
    },
    /** `true` refuses connections of both kinds, `'upgrades'` WebSockets only; a function is asked. */
    set refuse(now) {
      refuse = now;
    },
    /** How many WebSockets were asked for. */
    get upgrades() {
      return upgrades;
    },
  };
}

/** The server's side of a session: what the client says waits here until a test asks for it. */
class Peer {
  messages = queue();

  /** The next message of the client, which must be of this type. */
  async next(type) {
    const message = await this.messages.next(type);
    assert.equal(message.type, type, JSON.stringify(message));
    return message;
  }

  /** How many messages there are that nobody has asked for. */
  get waiting() {
    return this.messages.size;
  }

  frame(results, acks) {
    this.send({ type: 'frame', position: 'p', results, acks });
  }

  /** Answers a mutation that changes nothing that anybody is subscribed to. */
  done({ id, mutationId }, data) {
    this.send({ type: 'reply', id, data });
    this.frame([], [mutationId]);
  }
}

/** A session whose messages come as a stream of events. */
class Stream extends Peer {
  #response;
  batches = [];
  answer = 204;
  over = false;

  constructor(request, response, id) {
    super();
    this.id = id;
    this.headers = request.headers;
    this.#response = response;
    this.ended = new Promise((ended) => response.on('close', ended)).then(() => (this.over = true));
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.flushHeaders();
  }

  hello() {
    this.send({ type: 'connected', sessionId: this.id });
  }

  hear(request, body) {
    if (this.answer !== 204) return this.answer;
    this.posted = request.headers;
    this.batches.push(body.length);
    for (const message of body) this.messages.push(message);
    return 204;
  }

  send(message) {
    this.write(`data: ${JSON.stringify(message)}\n\n`);
  }

  /** Any text, as it is. */
  write(text) {
    this.#response.write(text);
  }

  close(code) {
    this.#response.end(`event: close\ndata: ${JSON.stringify({ type: 'close', code })}\n\n`);
  }

  cut() {
    this.#response.destroy();
  }
}

/** A session over a WebSocket. */
class Session extends Peer {
  #socket;
  #buffer = Buffer.alloc(0);

  constructor(socket, request) {
    super();
    this.#socket = socket;
    this.headers = request.headers;
    this.ended = new Promise((ended) => socket.on('close', ended));
    socket.on('data', (chunk) => {
      this.#buffer = Buffer.concat([this.#buffer, chunk]);
      while (this.#read());
    });
  }

  hello() {
    this.send({ type: 'connected', sessionId: 's' });
  }

  send(message) {
    this.#socket.write(framed(JSON.stringify(message)));
  }

  /** Sends the first half of a message, and breaks off. */
  sendHalf(message) {
    const bytes = framed(JSON.stringify(message));
    this.#socket.write(bytes.subarray(0, bytes.length / 2), () => this.#socket.destroy());
  }

  close(code) {
    const payload = Buffer.alloc(2);
    payload.writeUInt16BE(code);
    this.#socket.end(Buffer.concat([Buffer.from([0x88, 2]), payload]));
  }

  /** As when a cable is cut. */
  cut() {
    this.#socket.destroy();
  }

  #read() {
    const buffer = this.#buffer;
    if (buffer.length < 2) return false;
    let length = buffer[1] & 0x7f;
    let at = 2;
    if (length === 126) [length, at] = [buffer.length < 4 ? Infinity : buffer.readUInt16BE(2), 4];
    else if (length === 127)
      [length, at] = [buffer.length < 10 ? Infinity : Number(buffer.readBigUInt64BE(2)), 10];
    if (buffer.length < at + 4 + length) return false;
    const mask = buffer.subarray(at, at + 4);
    const payload = Buffer.from(buffer.subarray(at + 4, at + 4 + length));
    for (let i = 0; i < payload.length; i++) payload[i] ^= mask[i % 4];
    this.#buffer = buffer.subarray(at + 4 + length);
    const kind = buffer[0] & 0x0f;
    if (kind === 1) this.messages.push(JSON.parse(payload.toString()));
    else if (kind === 8) {
      this.closeCode = payload.length >= 2 ? payload.readUInt16BE(0) : undefined;
      this.#socket.end(Buffer.from([0x88, 0]));
    }
    return true;
  }
}

function framed(text) {
  const payload = Buffer.from(text);
  const head = Buffer.alloc(payload.length < 126 ? 2 : payload.length < 65536 ? 4 : 10);
  head[0] = 0x81;
  head[1] = payload.length < 126 ? payload.length : payload.length < 65536 ? 126 : 127;
  if (head[1] === 126) head.writeUInt16BE(payload.length, 2);
  else if (head[1] === 127) head.writeBigUInt64BE(BigInt(payload.length), 2);
  return Buffer.concat([head, payload]);
}

/** What arrives and what is waited for, in order. */
export function queue() {
  const items = [];
  const waiters = [];
  return {
    push: (item) => (waiters.length > 0 ? waiters.shift()(item) : items.push(item)),
    get size() {
      return items.length;
    },
    next: (what) =>
      items.length > 0
        ? Promise.resolve(items.shift())
        : new Promise((resolve, reject) => {
            const late = setTimeout(() => reject(new Error(`${what} never came`)), 5000);
            waiters.push((item) => (clearTimeout(late), resolve(item)));
          }),
  };
}

/** Subscribes, and keeps every snapshot in order. `seen.until(condition)` waits for one. */
export function watch(client, fn, args) {
  const seen = { all: [], waiters: new Set() };
  const subscription = client.subscribe(fn, args, (snapshot) => {
    seen.all.push(snapshot);
    for (const waiter of [...seen.waiters]) waiter();
  });
  return {
    stop: () => subscription.stop(),
    get current() {
      return subscription.current;
    },
    seen: seen.all,
    /** The data that was seen, one after another. */
    get data() {
      return seen.all.map((snapshot) => snapshot.data);
    },
    /** Waits until what is there now is so. */
    until(condition) {
      return new Promise((resolve, reject) => {
        const late = setTimeout(
          () => reject(new Error(`never ${condition}: ${JSON.stringify(subscription.current)}`)),
          5000,
        );
        const look = () => {
          if (!condition(subscription.current)) return;
          clearTimeout(late);
          seen.waiters.delete(look);
          resolve(subscription.current);
        };
        seen.waiters.add(look);
        look();
      });
    },
  };
}

/** Waits until the connection has this status. */
export function status(client, wanted) {
  return new Promise((resolve, reject) => {
    const late = setTimeout(
      () => reject(new Error(`never ${wanted}, but ${client.connection.status}`)),
      5000,
    );
    const look = () => {
      if (client.connection.status !== wanted) return;
      clearTimeout(late);
      stop();
      resolve();
    };
    const stop = client.connection.onChange(look);
    look();
  });
}
