import { Template } from '@huggingface/jinja';
import { ServiceError } from '../errors.js';
import type { ChatMessage } from './text-codec.js';

/** Most models understand ChatML; used for those that carry no template of their own. */
const chatMl =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}" +
  "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/** A model's own chat template (Jinja, from its GGUF metadata), ready to render. */
export class ChatTemplate {
  private readonly template: Template;
  private readonly variables: Record<string, unknown>;

  /** @throws Error when the template is not valid Jinja */
  constructor(source: string | undefined, beginText: string, endText: string) {
    this.template = new Template(source ?? chatMl);
    this.variables = { bos_token: beginText, eos_token: endText, add_generation_prompt: true, tools: null };
  }

  render(messages: readonly ChatMessage[]): string {
    try {
      return this.template.render({ ...this.variables, messages });
    } catch (cause) {
      const complaint = cause instanceof Error ? cause.message : String(cause);
      throw new ServiceError('invalid_value', `messages do not fit the model's chat template: ${complaint}`, {
        param: 'messages',
        cause,
      });
    }
  }
}
