// The peer of the benchmark `live`: PostGraphile's live queries, which a logical replication slot feeds. As its documentation says, with
// its defaults; production, no query log.
//
//   node server.js PORT URL
import http from 'node:http';
import { createRequire } from 'node:module';
import { postgraphile, enhanceHttpServerWithSubscriptions } from 'postgraphile';

const require = createRequire(import.meta.url);
const [port, url] = process.argv.slice(2);
const lds = require('@graphile/subscriptions-lds').default;

const middleware = postgraphile(url, 'public', {
  ownerConnectionString: url,
  subscriptions: true,
  live: true,
  appendPlugins: [lds],
  websocketMiddlewares: [],
  disableQueryLog: true,
  graphiql: false,
  dynamicJson: true,
  retryOnInitFail: false,
});
const server = http.createServer(middleware);
// Listens when it is ready.
await enhanceHttpServerWithSubscriptions(server, middleware);
server.listen(Number(port), '127.0.0.1');
