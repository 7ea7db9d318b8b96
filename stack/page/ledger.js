// The ledger panel: trial balance, accounts, last transfers, and a form that posts one.
// Amounts stay text: the ledger's decimals are exact and a JavaScript number is not.

const REFRESH_MS = 2000;
// A ledger that hangs must not leave "up to date" standing, nor the button waiting.
const READ_MAX_MS = 4000;
const POST_MAX_MS = 15000;
const TRANSFERS_SHOWN = 5;
const PAGE = 100;
const PAGES_AT_ONCE = 20;
const element = (id) => document.getElementById(id);

export function showLedger(facts) {
  let accounts = [];
  const lastTransfers = transfersFromTheEnd();
  const refresh = async () => {
    try {
      const [trial, chart, transfers] = await Promise.all([
        read("/v1/trial-balance"), read("/v1/accounts"), lastTransfers(),
      ]);
      const names = new Map(chart.items.map(({ code, name }) => [code, name]));
      const balances = trial.accounts.map((row) => (
        { ...row, code: row.account, name: names.get(row.account) ?? row.account }));
      showTrial(trial.currencies);
      showAccounts(balances, trial.next_cursor !== null);
      showTransfers(transfers);
      if (balances.map(({ code }) => code).join() !== accounts.map(({ code }) => code).join()) {
        offer(balances);
      }
      accounts = balances;
      state("up to date", false);
    } catch (error) {
      state(error.message, true);
    }
  };
  element("transfer").addEventListener("submit", (event) => {
    event.preventDefault();
    post(facts).then(refresh);
  });
  element("debit").addEventListener("change", () => offerCredit(accounts));
  refresh().then(function again() {
    setTimeout(() => (document.hidden ? Promise.resolve() : refresh()).then(again), REFRESH_MS);
  });
}

async function read(path) {
  const signal = AbortSignal.timeout(READ_MAX_MS);
  const answer = await fetch(path, { headers: { accept: "application/json" }, cache: "no-store", signal })
    .catch(() => { throw new Error(`no answer${signal.aborted ? " in time" : " from the proxy"}`); });
  if (!answer.ok) throw new Error(`the ledger answers ${answer.status}`);
  return answer.json();
}

// The ledger lists transfers in booking order. This reads on from where it was the last time, a few
// pages at most in one go, and keeps the newest.
function transfersFromTheEnd() {
  let cursor = "";
  let kept = [];
  const page = () => read(`/v1/transfers?limit=${PAGE}${cursor && `&cursor=${encodeURIComponent(cursor)}`}`);
  return async () => {
    let { items, next_cursor: next } = await page();
    for (let n = 0; next !== null && n < PAGES_AT_ONCE; n += 1) {
      kept = [...kept, ...items].slice(-TRANSFERS_SHOWN);
      cursor = next;
      ({ items, next_cursor: next } = await page());
    }
    return [...kept, ...items].slice(-TRANSFERS_SHOWN).reverse();
  };
}

const isZero = (amount) => /^-?0*(\.0*)?$/.test(amount);

function showTrial(currencies) {
  const rows = currencies.map(({ currency, debits, credits, difference }) => {
    const even = isZero(difference);
    const verdict = make("strong", `difference ${difference}`);
    verdict.className = even ? "even" : "wrong";
    verdict.append(even ? " (balanced)" : " (NOT BALANCED)");
    const row = make("li");
    row.append(make("span", `${currency}: debits ${debits}, credits ${credits}`), verdict);
    return row;
  });
  element("trial").replaceChildren(...(rows.length ? rows : [make("li", "No currency in use yet.")]));
}

function showAccounts(balances, more) {
  const rows = balances.map(({ code, name, balance, currency }) => {
    const label = make("td", name);
    label.append(make("small", code));
    const amount = make("td", `${balance} ${currency}`);
    amount.className = "number";
    const row = make("tr");
    row.append(label, amount);
    return row;
  });
  if (more) {
    const row = make("tr");
    row.append(make("td", "There are more accounts than are shown here."));
    rows.push(row);
  }
  element("accounts").replaceChildren(...rows);
}

function showTransfers(transfers) {
  const rows = transfers.map(({ description, booked_at: at, entries }) => {
    const row = make("li");
    const time = make("span", `${entries} entries, ${new Date(at).toLocaleTimeString()}`);
    time.className = "quiet";
    row.append(make("span", description), time);
    return row;
  });
  element("transfers").replaceChildren(...(rows.length ? rows : [make("li", "None yet.")]));
}

function offer(balances) {
  // The isolates keep a name written right to left from turning the rest around.
  const option = (account) => new Option(`\u2068${account.name}\u2069 (${account.currency})`, account.code);
  element("debit").replaceChildren(...balances.map(option));
  element("credit").replaceChildren(...balances.map(option));
  element("credit").value = "";
  offerCredit(balances);
}

// The other account must hold the same currency; one that grows by a credit is chosen first.
function offerCredit(balances) {
  const debit = balances.find((account) => account.code === element("debit").value);
  const fits = (account) => account.currency === debit?.currency && account.code !== debit.code;
  for (const option of element("credit").options) {
    option.disabled = !fits(balances.find((account) => account.code === option.value));
  }
  if (element("credit").selectedOptions[0]?.disabled ?? true) {
    const fitting = balances.filter(fits);
    const chosen = fitting.find((account) => account.normal_balance === "credit") ?? fitting[0];
    element("credit").value = chosen?.code ?? "";
  }
}

const LOST = "it was posted or it was not. Post the same again, and it counts once.";
let unanswered = null;

async function post(facts) {
  const amount = element("amount").value.trim();
  const body = {
    description: "Posted from the stream page",
    entries: [
      { account: element("debit").value, direction: "debit", amount },
      { account: element("credit").value, direction: "credit", amount },
    ],
  };
  const text = JSON.stringify(body);
  // A posting whose answer was lost may have been booked: the same one is sent with its old key.
  if (unanswered?.text !== text) unanswered = { text, key: key() };
  const button = element("post");
  button.disabled = true;
  const begun = performance.now();
  try {
    const answer = await fetch("/v1/transfers", {
      method: "POST",
      headers: { "content-type": "application/json", "idempotency-key": unanswered.key },
      body: text,
      signal: AbortSignal.timeout(POST_MAX_MS),
    });
    // 5xx is no answer: with it, too, the transfer may have been booked.
    if (answer.status < 500) unanswered = null;
    const took = (performance.now() - begun).toFixed(0);
    const told = await answer.json().catch(() => ({}));
    if (unanswered) {
      tell(`The ledger answers ${answer.status}: ${LOST}`, true);
      return;
    }
    if (!answer.ok) {
      tell(`Refused: ${told.detail ?? told.title ?? `the ledger answers ${answer.status}`}`, true);
      return;
    }
    facts.posted += 1;
    tell(`Posted ${amount} in ${took} ms, transfer ${told.id}.`, false);
  } catch {
    tell(`No answer: ${LOST}`, true);
  } finally {
    button.disabled = false;
  }
}

// randomUUID exists only on secure origins; loopback is one, a LAN address is not.
function key() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function tell(text, wrong) {
  element("posting").textContent = text;
  element("posting").classList.toggle("wrong", wrong);
}

function state(text, wrong) {
  const shown = element("ledger-state");
  if (shown.textContent !== text) shown.textContent = text;
  shown.classList.toggle("wrong", wrong);
}

function make(tag, text) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  return made;
}
