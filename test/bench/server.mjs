// The server of the benchmarks, in a process of its own: `node server.mjs SIZE ADDRESS`. Sends the environments of the
// ranks to its parent, and serves until the parent disconnects.
import { PmiServer } from '../../dist/index.mjs';

const size = Number(process.argv[2]);
const server = await PmiServer.listen({ size, address: process.argv[3] });
process.send(Array.from({ length: size }, (_, rank) => server.env(rank)));
process.once('disconnect', () => void server.close());
