// An adapter that answers with what it was asked.
"use strict";
const { Refused, serve } = require(`${process.env.LIBRARY}/squishspec_adapter.js`);

class Echo {
  static offers = ["echo", "echo/shout"];
  static whole = ["pos"];

  constructor({ greeting = "hello" }) {
    if (greeting === "") throw new Refused("range", "greeting: want a word, got none");
    this.greeting = greeting;
  }

  echo({ value = null }) {
    return { value, greeting: this.greeting };
  }

  double({ x }) {
    return { twice: 2 * x };
  }

  next({ pos }) {
    return { pos: pos + 1n };
  }

  limits() {
    return { nan: NaN, least: -Infinity, single: Infinity, zero: -0 };
  }

  shout() {
    console.log("shouted");
    process.stdout.write("shouted louder\n");
  }

  fail() {
    throw new Error("failed");
  }

  unsendable() {
    return { value: () => 0 };
  }

  lacks() {
    throw new Refused("unsupported", "lacking");
  }
}

serve("echo", "1.0", [Echo], 0.25);
