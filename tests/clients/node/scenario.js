// node-zookeeper-client against one server: the steps every client shows, then its own mkdirp.
// A step's name is printed only after everything in it held.
//
// The client takes version 0 for "any", so the versions that must matter here start at 1.
'use strict';
const assert = require('assert');
const net = require('net');
const zookeeper = require('node-zookeeper-client');
const { ACL, CreateMode, Exception, Id, Permission } = zookeeper;

const { ZK_SERVER: SERVER, ZK_PROXY: PROXY, ZK_CONTROL: CONTROL } = process.env;
const EMPTY = Buffer.alloc(0);
const ROOT = '/node-scenario';
let zk;
let control;

/** One command to the control port: cut, hold, release, stop, start or restart. */
function ask(what) {
    if (!control) {
        const [host, port] = CONTROL.split(':');
        control = net.connect(Number(port), host);
    }
    control.write(what + '\n');
    return new Promise((resolve, reject) => control.once('data', (answer) =>
        String(answer) === 'ok\n' ? resolve() : reject(new Error(String(answer)))));
}

async function until(holds) {
    for (const end = Date.now() + 30000; !(await holds()); await new Promise((go) => setTimeout(go, 20))) {
        assert(Date.now() < end, 'waited in vain for ' + holds + '; states ' + (zk && zk.states));
    }
}

/** A call of the client, as a promise of its results. */
function call(client, method, ...args) {
    return new Promise((resolve, reject) => client[method](...args, (error, ...results) =>
        error ? reject(error) : resolve(results)));
}

async function fails(name, promise) {
    const error = await promise.then(() => assert.fail('no ' + name), (error) => error);
    assert.strictEqual(error.name, name, error.stack);
    return error;
}

async function client(where = SERVER, sessionTimeout = 10000) {
    const made = zookeeper.createClient(where, { sessionTimeout, spinDelay: 50, retries: 0 });
    made.states = [];
    made.on('state', (state) => made.states.push(state.getName()));
    made.connect();
    await until(() => made.states.includes('SYNC_CONNECTED'));
    return made;
}

const create = async (path, data = '', mode = CreateMode.PERSISTENT, by = zk) =>
    (await call(by, 'create', path, Buffer.from(data), mode))[0];
const exists = async (path) => (await call(zk, 'exists', path))[0];
const told = (events) => (event) => events.push(event.getName() + ' ' + event.getPath());
const hex = (id) => id.toString('hex');

async function connect() {
    zk = await client();
    assert.strictEqual(zk.getSessionPassword().length, 16);
    assert.strictEqual(zk.getSessionTimeout(), 10000);
    await create(ROOT);
}

async function createKinds() {
    const base = await create(ROOT + '/kinds', 'persistent');
    await create(base + '/ephemeral', 'e', CreateMode.EPHEMERAL);
    assert.strictEqual(hex((await exists(base + '/ephemeral')).ephemeralOwner), hex(zk.getSessionId()));
    assert.strictEqual(await create(base + '/seq-', '', CreateMode.PERSISTENT_SEQUENTIAL), base + '/seq-0000000001');
    assert.strictEqual(await create(base + '/both-', '', CreateMode.EPHEMERAL_SEQUENTIAL), base + '/both-0000000002');
    assert.strictEqual((await exists(base)).dataLength, 10);
}

async function versions() {
    const path = await create(ROOT + '/versions', 'zero');
    const set = (data, version = -1) => call(zk, 'setData', path, data, version);
    assert.strictEqual((await set(Buffer.from('one')))[0].version, 1);
    assert.strictEqual((await set(Buffer.from('two'), 1))[0].version, 2);
    await fails('BAD_VERSION', set(Buffer.from('x'), 1));
    const [data, stat] = await call(zk, 'getData', path);
    assert.deepStrictEqual([String(data), stat.version, stat.numChildren], ['two', 2, 0]);
    await fails('BAD_VERSION', call(zk, 'remove', path, 1));
    await call(zk, 'remove', path, 2);
    assert.strictEqual(await exists(path), null);
}

async function children() {
    const base = await create(ROOT + '/children');
    for (const name of ['b', 'a', 'ünïcode-節点']) {
        await create(base + '/' + name);
    }
    const [names, stat] = await call(zk, 'getChildren', base);
    assert.deepStrictEqual([names.sort(), stat.cversion, stat.numChildren], [['a', 'b', 'ünïcode-節点'], 3, 3]);
    await fails('NOT_EMPTY', call(zk, 'remove', base));
}

async function watchesInOrder() {
    const path = ROOT + '/watched';
    const events = [];
    await call(zk, 'exists', path, told(events));
    await create(path);
    await call(zk, 'getData', path, told(events));
    await call(zk, 'getChildren', path, told(events));
    await create(path + '/child');
    await call(zk, 'setData', path, EMPTY);
    // The reply to a write comes after its event: nothing has to be waited for.
    assert.deepStrictEqual(events, ['NODE_CREATED', 'NODE_CHILDREN_CHANGED', 'NODE_DATA_CHANGED']
        .map((name) => name + ' ' + path));
    for (let turn = 0; turn < 100; turn++) {
        const seen = [];
        await call(zk, 'getData', path, () => seen.push('event'));
        await Promise.all([
            call(zk, 'setData', path, EMPTY).then(() => seen.push('reply')),
            call(zk, 'getData', path).then(() => seen.push('data')),
        ]);
        assert.deepStrictEqual(seen, ['event', 'reply', 'data']);
    }
    await call(zk, 'remove', path + '/child');
    events.length = 0;
    await call(zk, 'exists', path, told(events));
    await call(zk, 'remove', path);
    assert.deepStrictEqual(events, ['NODE_DELETED ' + path]);
}

async function ephemeralVanishes() {
    const path = ROOT + '/short-lived';
    const events = [];
    const other = await client();
    await create(path, '', CreateMode.EPHEMERAL, other);
    await fails('NO_CHILDREN_FOR_EPHEMERALS', create(path + '/child'));
    await call(zk, 'exists', path, told(events));
    other.close();
    await until(() => events.length === 1);
    assert.deepStrictEqual(events, ['NODE_DELETED ' + path]);
    assert.strictEqual(await exists(path), null);
}

async function sequential() {
    const base = await create(ROOT + '/sequence');
    const made = Array.from({ length: 100 }, () => create(base + '/n-', '', CreateMode.PERSISTENT_SEQUENTIAL));
    const expected = made.map((_, number) => base + '/n-' + String(number).padStart(10, '0'));
    assert.deepStrictEqual(await Promise.all(made), expected);
}

async function multiSucceeds() {
    const base = await create(ROOT + '/multi');
    await call(zk, 'setData', base, EMPTY);
    const [results] = await call(zk.transaction()
        .check(base, 1)
        .create(base + '/a', Buffer.from('1'))
        .create(base + '/s-', CreateMode.PERSISTENT_SEQUENTIAL)
        .setData(base + '/a', Buffer.from('2'))
        .remove(base + '/a', 1), 'commit');
    assert.strictEqual(results[2].path, base + '/s-0000000001');
    assert.strictEqual(results[3].stat.version, 1);
    assert.deepStrictEqual((await call(zk, 'getChildren', base))[0], ['s-0000000001']);
}

async function multiFailsWhole() {
    const base = await create(ROOT + '/multi-fails');
    const before = await exists(base);
    await fails('BAD_VERSION', call(zk.transaction()
        .create(base + '/a')
        .setData(base, EMPTY)
        .check(base, 7)
        .create(base + '/b'), 'commit'));
    assert.deepStrictEqual(await exists(base), before);
}

async function errorsAreMapped() {
    const here = await create(ROOT + '/errors');
    const error = await fails('NODE_EXISTS', create(here));
    assert.strictEqual(error.getCode(), Exception.NODE_EXISTS);
    await fails('NO_NODE', create(here + '/no/parent'));
    await fails('NO_NODE', call(zk, 'getData', here + '/none'));
    await fails('NO_NODE', call(zk, 'setData', here + '/none', EMPTY));
    await fails('NO_NODE', call(zk, 'remove', here + '/none'));
    await fails('NO_NODE', call(zk, 'getChildren', here + '/none'));
    await fails('NO_NODE', call(zk, 'getACL', here + '/none'));
    await fails('BAD_VERSION', call(zk, 'setACL', here, ACL.OPEN_ACL_UNSAFE, 9));
    await fails('BAD_ARGUMENTS', call(zk, 'remove', '/zookeeper/config'));
    const strange = [new ACL(Permission.ALL, new Id('no-such-scheme', 'who'))];
    await fails('INVALID_ACL', call(zk, 'create', here + '/acl', strange));
    await fails('INVALID_ACL', call(zk, 'create', here + '/acl', ACL.CREATOR_ALL_ACL));
}

async function authAndAcl() {
    const path = ROOT + '/secret';
    const owner = await client();
    owner.addAuthInfo('digest', Buffer.from('user:secret'));
    await call(owner, 'create', path, Buffer.from('hidden'), ACL.CREATOR_ALL_ACL);
    await fails('NO_AUTH', call(zk, 'getData', path));
    await fails('NO_AUTH', call(zk, 'setData', path, EMPTY));
    await fails('NO_AUTH', create(path + '/child'));
    const [acls] = await call(owner, 'getACL', path);
    assert.deepStrictEqual(acls.map((acl) => [acl.permission, acl.id.scheme, acl.id.id.split(':')[0]]),
        [[31, 'digest', 'user']]);
    assert.strictEqual((await call(owner, 'setACL', path, ACL.READ_ACL_UNSAFE))[0].aversion, 1);
    assert.strictEqual(String((await call(zk, 'getData', path))[0]), 'hidden');
    await fails('NO_AUTH', call(zk, 'setData', path, EMPTY));
    owner.addAuthInfo('digest', Buffer.from('super:test'));
    await call(owner, 'setData', path, EMPTY);
    owner.close();
    const stranger = await client();
    stranger.addAuthInfo('no-such-scheme', Buffer.from('who'));
    await until(() => stranger.states.includes('AUTH_FAILED'));
}

async function largeData() {
    const path = await create(ROOT + '/large');
    const large = Buffer.alloc(1044480, '0123456789abcdef');
    await call(zk, 'setData', path, large);
    assert((await call(zk, 'getData', path))[0].equals(large));
    const other = await client();
    await fails('CONNECTION_LOSS', call(other, 'setData', path, Buffer.alloc(1048576)));
    other.close();
    assert.strictEqual((await exists(path)).version, 1);
    await call(zk, 'remove', path);
}

async function pipelined() {
    const path = await create(ROOT + '/pipeline');
    const all = [];
    for (let number = 1; number <= 3000; number++) {
        all.push(call(zk, 'setData', path, Buffer.from('m' + number)).then(([stat]) =>
            assert.strictEqual(stat.version, number)));
        all.push(call(zk, 'getData', path).then(([data, stat]) =>
            assert.deepStrictEqual([String(data), stat.version], ['m' + number, number])));
    }
    await Promise.all(all);
}

async function cutKeepsSession() {
    const other = await client(PROXY);
    const path = await create(ROOT + '/cut', '', CreateMode.EPHEMERAL, other);
    const session = hex(other.getSessionId());
    await ask('cut');
    await until(() => other.states.length === 3);
    assert.deepStrictEqual(other.states, ['SYNC_CONNECTED', 'DISCONNECTED', 'SYNC_CONNECTED']);
    assert.strictEqual(hex(other.getSessionId()), session);
    assert.strictEqual(hex((await exists(path)).ephemeralOwner), session);
    other.close();
    await until(async () => (await exists(path)) === null);
}

async function cutResetsWatches() {
    const base = await create(ROOT + '/resets');
    const [data, gone, quiet] = [await create(base + '/data'), await create(base + '/gone'),
        await create(base + '/quiet')];
    const other = await client(PROXY, 20000);
    const events = [];
    await call(other, 'getData', data, told(events));
    await call(other, 'getData', gone, told(events));
    await call(other, 'getData', quiet, told(events));
    await call(other, 'exists', base + '/made', told(events));
    await call(other, 'getChildren', base, told(events));
    await ask('hold');
    await call(zk, 'setData', data, EMPTY);
    await call(zk, 'remove', gone);
    await create(base + '/made');
    await ask('release');
    await until(() => events.length === 4);
    assert.deepStrictEqual(events.sort(), ['NODE_CHILDREN_CHANGED ' + base, 'NODE_CREATED ' + base + '/made',
        'NODE_DATA_CHANGED ' + data, 'NODE_DELETED ' + gone]);
    await call(zk, 'setData', quiet, EMPTY);
    await until(() => events.length === 5);
    assert.strictEqual(events[4], 'NODE_DATA_CHANGED ' + quiet);
    other.close();
}

async function restartKeepsSession() {
    zk.close();
    // Behind the closed door: with the server in the open, this client was seen to stay DISCONNECTED after one in two
    // restarts of Apache's. A guess at why: it connects while the port is open but nobody serves yet, and has no timeout
    // for the answer.
    zk = await client(PROXY, 30000);
    const other = await client(PROXY, 30000);
    const path = await create(ROOT + '/restart', 'kept', CreateMode.EPHEMERAL, other);
    const session = hex(other.getSessionId());
    const events = [];
    await call(other, 'getData', path, told(events));
    const before = await exists(ROOT);
    await ask('hold');
    await ask('restart');
    await ask('release');
    const back = (client) => client.states.includes('DISCONNECTED') && client.states.at(-1) === 'SYNC_CONNECTED';
    await until(() => back(zk) && back(other));
    assert.deepStrictEqual(await exists(ROOT), before);
    assert.strictEqual(hex((await exists(path)).ephemeralOwner), session);
    await call(zk, 'setData', path, EMPTY);
    await until(() => events.length === 1);
    other.close();
    await until(async () => (await exists(path)) === null);
}

async function sessionExpires() {
    zk.close();
    zk = await client();
    const other = await client(PROXY, 2000);
    const path = await create(ROOT + '/expires', '', CreateMode.EPHEMERAL, other);
    await ask('hold');
    await until(async () => (await exists(path)) === null);
    await ask('release');
    await until(() => other.states.includes('EXPIRED'));
}

/**
 * The client's `removeRecursive` is left out: it lists the tree by growing the array that `async.reduce` walks, and
 * async 3 takes the array's length once, so it sees the children of the top node only.
 */
async function mkdirp() {
    const deep = ROOT + '/deep/er/still';
    assert.deepStrictEqual(await call(zk, 'mkdirp', deep, Buffer.from('x')), [deep]);
    assert.strictEqual(String((await call(zk, 'getData', deep))[0]), 'x');
}

(async () => {
    for (const [name, step] of Object.entries({
        'connect': connect, 'create-kinds': createKinds, 'versions': versions, 'children': children,
        'watches-in-order': watchesInOrder, 'ephemeral-vanishes': ephemeralVanishes, 'sequential': sequential,
        'multi-succeeds': multiSucceeds, 'multi-fails-whole': multiFailsWhole, 'errors-are-mapped': errorsAreMapped,
        'auth-and-acl': authAndAcl, 'large-data': largeData, 'pipelined': pipelined,
        'cut-keeps-session': cutKeepsSession, 'cut-resets-watches': cutResetsWatches,
        'restart-keeps-session': restartKeepsSession, 'session-expires': sessionExpires, 'mkdirp': mkdirp,
    })) {
        await step();
        console.log('ok ' + name);
    }
    process.exit(0);
})().catch((error) => {
    console.log(error);
    process.exit(1);
});
