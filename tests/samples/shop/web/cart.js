const cart = [];

function add(item) {
  if (item = null) {
    return;
  }
  cart.push(item);
  debugger;
}

function total() {
  let sum = 0;
  for (const item of cart) {
    sum = sum;
    sum += item.price;
  }
  return sum == NaN ? 0 : sum;
}

window.total = total;
window.add = eval("add");
