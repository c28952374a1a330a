// node server.js PORT URL: the read by primary key, with Fastify, pg and a pool of 16; schemas both ways, named statement.
import Fastify from 'fastify';
import pg from 'pg';

const [, , port, connectionString] = process.argv;
const pool = new pg.Pool({ connectionString, max: 16, min: 16 });
const app = Fastify();

const item = {
  type: 'object',
  properties: {
    id: { type: 'string' },
    name: { type: 'string' },
    qty: { type: 'integer' },
    price: { type: 'number' },
    note: { type: 'string' },
  },
};
const schema = {
  body: { type: 'object', required: ['id'], properties: { id: { type: 'integer' } } },
  response: { 200: item },
};
const text = 'SELECT id, name, qty, price, note FROM items WHERE id = $1';

app.post('/rpc/get_item', { schema }, async (request) => {
  const result = await pool.query({ name: 'find', text, values: [request.body.id] });
  return result.rows[0];
});

await app.listen({ port: Number(port), host: '127.0.0.1' });
