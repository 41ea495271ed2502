import { mount } from "svelte";
import App from "./App.svelte";
import "./styles/variables.css";
import "./styles/base.css";

mount(App, { target: document.getElementById("app")! });
