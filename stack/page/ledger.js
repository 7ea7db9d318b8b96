// The ledger panel: trial balance, accounts, last transfers, and a form that posts one.
// Amounts stay text: the ledger's decimals are exact and a JavaScript number is not.

const REFRESH_MS = 2000;
const TRANSFERS_SHOWN = 5;
const element = (id) => document.getElementById(id);

export function showLedger(facts) {
  let accounts = [];
  const refresh = async () => {
    try {
      const [trial, list, transfers] = await Promise.all([
        read("/v1/trial-balance"), read("/v1/accounts"), read("/v1/transfers"),
      ]);
      const named = new Map(items(list, "accounts").map((account) => [account.code, account]));
      const balances = trial.accounts.map((row) => ({ ...named.get(code(row)), ...row, code: code(row) }));
      showTrial(trial.currencies);
      showAccounts(balances);
      showTransfers(items(transfers, "transfers"));
      if (balances.map((row) => row.code).join() !== accounts.map((row) => row.code).join()) {
        offer(balances);
      }
      accounts = balances;
      state("up to date", false);
    } catch (error) {
      state(error.message, true);
    }
  };
  const form = element("transfer");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    post(accounts, facts).then(refresh);
  });
  element("debit").addEventListener("change", () => offerCredit(accounts));
  refresh().then(function again() {
    setTimeout(() => (document.hidden ? Promise.resolve() : refresh()).then(again), REFRESH_MS);
  });
}

async function read(path) {
  const answer = await fetch(path, { headers: { accept: "application/json" }, cache: "no-store" })
    .catch(() => { throw new Error("the proxy does not answer"); });
  if (!answer.ok) throw new Error(`the ledger answers ${answer.status}`);
  return answer.json();
}

const code = (row) => row.code ?? row.account;
const items = (list, name) => (Array.isArray(list) ? list : list[name] ?? list.items ?? []);
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

function showAccounts(balances) {
  element("accounts").replaceChildren(...balances.map((account) => {
    const name = make("td", account.name ?? account.code);
    name.append(make("small", account.code));
    const balance = make("td", `${account.balance} ${account.currency}`);
    balance.className = "number";
    const row = make("tr");
    row.append(name, balance);
    return row;
  }));
}

function showTransfers(transfers) {
  const newest = [...transfers]
    .sort((a, b) => (at(a) < at(b) ? 1 : -1)).slice(0, TRANSFERS_SHOWN);
  const rows = newest.map((transfer) => {
    const debits = transfer.entries.filter((entry) => entry.direction === "debit");
    const row = make("li");
    row.append(
      make("span", transfer.description),
      make("span", debits.map((entry) => `${entry.amount} ${entry.currency ?? ""}`.trim()).join(", ")),
    );
    return row;
  });
  element("transfers").replaceChildren(...(rows.length ? rows : [make("li", "None yet.")]));
}

const at = (transfer) => transfer.created_at ?? transfer.posted_at ?? transfer.id;

function offer(balances) {
  const option = (account) => new Option(`${account.name ?? account.code} (${account.currency})`, account.code);
  element("debit").replaceChildren(...balances.map(option));
  element("credit").replaceChildren(...balances.map(option));
  offerCredit(balances);
}

// The other account must hold the same currency; the first such is chosen.
function offerCredit(balances) {
  const debit = balances.find((account) => account.code === element("debit").value);
  const fits = (account) => account.currency === debit?.currency && account.code !== debit.code;
  for (const option of element("credit").options) {
    option.disabled = !fits(balances.find((account) => account.code === option.value));
  }
  if (element("credit").selectedOptions[0]?.disabled ?? true) {
    element("credit").value = balances.find(fits)?.code ?? "";
  }
}

async function post(accounts, facts) {
  const amount = element("amount").value.trim();
  const body = {
    description: "Posted from the stream page",
    entries: [
      { account: element("debit").value, direction: "debit", amount },
      { account: element("credit").value, direction: "credit", amount },
    ],
  };
  const button = element("post");
  button.disabled = true;
  const begun = performance.now();
  try {
    const answer = await fetch("/v1/transfers", {
      method: "POST",
      headers: { "content-type": "application/json", "idempotency-key": key() },
      body: JSON.stringify(body),
    });
    const took = (performance.now() - begun).toFixed(0);
    const told = await answer.json().catch(() => ({}));
    if (!answer.ok) {
      tell(`Refused: ${told.detail ?? told.title ?? `the ledger answers ${answer.status}`}`, true);
      return;
    }
    facts.posted += 1;
    tell(`Posted ${amount} in ${took} ms, transfer ${told.id}.`, false);
  } catch {
    tell("The proxy does not answer. Nothing was posted, or it was and its answer was lost.", true);
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
