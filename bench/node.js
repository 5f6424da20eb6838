// SPDX-License-Identifier: GPL-2.0
// node.js: a server on port 8080 for tests/profiles and bench/apps: so many bytes (by default 64), /big, and how long a POST is.
const body = 'x'.repeat(Number(process.argv[2] || 64));

require('http').createServer((request, response) => {
  if (request.url === '/big')
    return response.end('y'.repeat(300000));
  if (request.method !== 'POST')
    return response.end(body);
  let n = 0;
  request.on('data', (data) => { n += data.length; }).on('end', () => response.end(String(n)));
}).listen(8080, '0.0.0.0');
