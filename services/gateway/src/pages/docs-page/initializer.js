// Runs in the browser: starts swagger-ui on /docs.
const root = document.getElementById('swagger-ui');
/** The path in front of the gateway's own paths; empty when there is none. */
const { prefix } = root.dataset;
const exampleEmail = 'ada@example.com';
/** An email can be taken only once, so each creation from this page has an address of its own. */
const freshEmail = () => exampleEmail.replace('@', `.${Math.random().toString(36).slice(2, 8)}@`);
let email = freshEmail();
let sentBody = '';

/** The examples of this page, and a server that its content security policy allows. */
function prepareDocument(text) {
  const prepared = JSON.parse(text.replaceAll(exampleEmail, email));
  prepared.servers = [{ url: prefix || '/' }];
  return JSON.stringify(prepared);
}

/** An error response is one line until it is opened: an operation has ten of them. */
function collapseErrors(Response, { React }) {
  const element = React.createElement;
  return (props) => {
    const [isOpen, setOpen] = React.useState(false);
    const { code, response } = props;
    if (isOpen || Number(code) < 400) return element(Response, props);
    const text = String(response.get('description')).replaceAll('`', ''); // Markdown, which only the opened response shows
    const open = { type: 'button', className: 'open-response', 'aria-expanded': false, onClick: () => setOpen(true) };
    return element(
      'tr',
      { className: 'response collapsed', 'data-code': code },
      element('td', { className: 'response-col_status' }, code),
      element('td', { className: 'response-col_description' }, element('button', open, text)),
    );
  };
}

/** After a creation, the next one gets another address. */
function renewEmail(response) {
  if (response.status !== 201 || !sentBody.includes(email)) return response;
  const next = freshEmail();
  const value = sentBody.replaceAll(email, next);
  email = next;
  const path = new URL(response.url).pathname.slice(prefix.length);
  setTimeout(() => window.ui.oas3Actions.setRequestBodyValue({ value, pathMethod: [path, 'post'] }));
  return response;
}

window.ui = window.SwaggerUIBundle({
  url: `${prefix}/openapi.json`,
  domNode: root,
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  validatorUrl: null,
  requestInterceptor: (request) => {
    if (typeof request.body === 'string') sentBody = request.body;
    return request;
  },
  responseInterceptor: renewEmail,
  plugins: [
    () => ({
      statePlugins: {
        spec: { wrapActions: { updateSpec: (original) => (text) => original(prepareDocument(text)) } },
      },
      wrapComponents: { response: collapseErrors },
    }),
  ],
});
