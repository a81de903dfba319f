// A piece of a text as tokens: coloured by probability; the one pointed at or focused shows what else was likely.
let open = null; // the piece whose card is shown, of all on the page

export default {
  template: `
    <span class="tokens-piece">
      <span
        v-for="(token, index) in tokens" :key="index" :class="classOf(token, index)"
        :tabindex="first + index === 0 ? 0 : -1" :data-place="first + index" role="button"
        :aria-label="describe(token)"
        @mouseenter="enter(index)" @mouseleave="leave" @click="show(index)" @focus="focusOn(index)"
        @keydown="key($event, index)"
      >{{ token.t }}</span>
      <teleport to="body">
      <div v-if="at !== null && tokens[at]" class="token-card" ref="card" :style="style" role="dialog"
           @mouseenter="hold" @mouseleave="leave" @keydown.esc="close(true)" @keydown="cardKey">
        <div class="token-head">
          <code>{{ tokens[at].n }}</code>
          <span v-if="tokens[at].p">{{ tokens[at].p }}</span>
          <span v-else class="faint">{{ words.unknown }}</span>
          <span class="faint" v-if="tokens[at].r !== null">{{ words.rank }} {{ tokens[at].r + 1 }}</span>
          <span class="faint" v-if="tokens[at].m === 'person'">{{ words.person }}</span>
        </div>
        <button v-for="other in tokens[at].o" :key="other[0]" class="token-other" type="button"
                :class="{ chosen: other[1] === tokens[at].n, tried: other[4] }"
                @click="pick(other[0])" :title="other[4] ? words.tried : words.pick">
          <code>{{ other[1] }}</code><span class="bar"><i :style="{ width: 100 * other[3] + '%' }"></i></span>
          <span class="share">{{ other[2] }}</span>
        </button>
        <button class="token-on" type="button" @click="onward">{{ words.onward }}</button>
      </div>
      </teleport>
    </span>`,
  props: { tokens: Array, first: Number, words: Object },
  data: () => ({ at: null, style: {}, timer: null }),
  beforeUnmount() {
    clearTimeout(this.timer);
    if (open === this) open = null;
  },
  methods: {
    classOf(token, index) {
      return {
        token: true,
        ["level-" + token.l]: token.l !== null,
        part: token.t === "",
        person: token.m === "person",
        prompt: token.m === "prompt",
        fork: token.f,
        current: this.at === index,
      };
    },
    describe(token) {
      return token.n + (token.p ? ", " + token.p : "");
    },
    enter(index) {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.show(index), this.at === null ? 120 : 60);
    },
    leave() {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.close(false), 250);
    },
    hold() {
      clearTimeout(this.timer);
    },
    focusOn(index) {
      if (this.$el.querySelector(".token:focus-visible")) this.show(index);
    },
    show(index) {
      clearTimeout(this.timer);
      if (open && open !== this) open.close(false);
      open = this;
      this.at = index;
      this.$nextTick(this.place);
    },
    place() {
      const card = this.$refs.card;
      if (!card || this.at === null) return;
      const token = this.spans()[this.at].getClientRects()[0] || this.spans()[this.at].getBoundingClientRect();
      const left = Math.max(8, Math.min(token.left, window.innerWidth - card.offsetWidth - 8));
      const below = token.bottom + 6;
      const fits = below + card.offsetHeight < window.innerHeight - 8;
      const top = fits ? below : Math.max(8, token.top - card.offsetHeight - 6);
      this.style = { left: left + "px", top: top + "px", visibility: "visible" };
    },
    close(back) {
      const index = this.at;
      clearTimeout(this.timer);
      this.at = null;
      this.style = {};
      if (open === this) open = null;
      if (back && index !== null) this.spans()[index]?.focus({ preventScroll: true });
    },
    spans() {
      return this.$el.querySelectorAll(".token");
    },
    pick(token) {
      const place = this.first + this.at;
      this.close(false);
      this.$emit("pick", { place, token });
    },
    onward() {
      const place = this.first + this.at;
      this.close(false);
      this.$emit("onward", { place });
    },
    key(event, index) {
      const steps = { ArrowRight: 1, ArrowLeft: -1 };
      if (event.key in steps) {
        const all = [...this.$el.closest(".sheet-text").querySelectorAll(".token")];
        all[all.indexOf(event.target) + steps[event.key]]?.focus();
      } else if (event.key === "Enter" || event.key === " " || event.key === "ArrowDown") {
        this.show(index);
        this.$nextTick(() => this.$refs.card?.querySelector("button")?.focus());
      } else if (event.key === "Escape") {
        this.close(false);
      } else return;
      event.preventDefault();
    },
    cardKey(event) {
      const steps = { ArrowDown: 1, ArrowUp: -1 };
      if (!(event.key in steps)) return;
      const all = [...this.$refs.card.querySelectorAll("button")];
      const next = all.indexOf(document.activeElement) + steps[event.key];
      if (next >= 0) all[next]?.focus();
      else this.close(true);
      event.preventDefault();
    },
  },
};
